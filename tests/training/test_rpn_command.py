"""RPN through the real command line: it has no score."""

from pathlib import Path

import pytest

from retrieval_bench.cli import main
from retrieval_bench.datasets.miniature import synthesize

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = ["trainer.yaml", "datasets/voc2007.yaml", "methods/rpn.yaml"]
SMALL = [
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--model.init_args.min_side", "96", "--model.init_args.anchors", "[24, 48]"),
    *("--trainer.max_steps", "20", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--data.init_args.num_workers", "0", "--trainer.logger", "false"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return synthesize("voc2007", tmp_path_factory.mktemp("data") / "voc2007")


def words(root: Path) -> list[str]:
    files = [word for file in FILES for word in ("--config", str(BENCHMARKS / file))]
    return [*files, *SMALL, "--data.init_args.root", str(root)]


def test_it_has_no_score(root, run_folder, capsys):
    assert main(["benchmark", *words(root), "--trainer.run_dir", str(run_folder())]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "retrieval-bench: RPN describes no pictures, so it has no score: train it with `fit`"
    )
