"""RPN through the real command line: it is fitted, loaded again, and has no score."""

from pathlib import Path

import pytest
import torch

from retrieval_bench.cli import main
from retrieval_bench.methods import RPN
from retrieval_bench.training.checkpoints import CheckpointError, load_method, load_network

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = ["trainer.yaml", "datasets/voc2007.yaml", "methods/rpn.yaml"]
SMALL = [
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--model.init_args.min_side", "96", "--model.init_args.anchors", "[24, 48]"),
    *("--trainer.max_steps", "20", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--data.init_args.num_workers", "0", "--trainer.logger", "false"),
]


@pytest.fixture(scope="module")
def root(drawn) -> Path:
    return drawn("voc2007")


def words(root: Path) -> list[str]:
    files = [word for file in FILES for word in ("--config", str(BENCHMARKS / file))]
    return [*files, *SMALL, "--data.init_args.root", str(root)]


def test_the_shipped_config_fits_and_its_checkpoint_is_enough(root, tmp_path):
    assert main(["fit", *words(root), "--trainer.default_root_dir", str(tmp_path)]) == 0
    file = tmp_path / "checkpoints" / "last.ckpt"
    trained = load_network(file, RPN)
    state = torch.load(file, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[name]) for name, value in trained.state_dict().items())
    assert state["network.rpn.head.cls_logits.bias"].any()  # it starts at zero
    with torch.inference_mode():
        assert trained(torch.rand(1, 3, 96, 128)).shape == (1, 200, 4)
    with pytest.raises(CheckpointError, match="holds RPN, and RetrievalMethod is needed"):
        load_method(file)


def test_it_has_no_score(root, run_folder, capsys):
    assert main(["benchmark", *words(root), "--trainer.run_dir", str(run_folder())]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "retrieval-bench: RPN describes no pictures, so it has no score: train it with `fit`"
    )
