"""QueryDetector through the real command line, killed in between, and its trunk in UDQ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything
from trainers import QUIET, KillAt, Killed

from retrieval_bench.bench.results import read_result
from retrieval_bench.cli import main
from retrieval_bench.datamodules import Oxford5kDataModule
from retrieval_bench.datasets.miniature import oxford_paris as writer
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.methods import UDQ, QueryDetector
from retrieval_bench.nn import detection
from retrieval_bench.training.checkpoints import load_network
from retrieval_bench.training.trainer import BenchmarkTrainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LEAK = "the 25 test queries of oxford5k with their boxes and landmarks (a leak: it was told what will be asked)"
SMALL = {"backbone": "resnet18", "weights": "none", "shorter_side": 64, "longest_side": 96}
STEPS = 32  # 25 an epoch

# Frozen batch norms, and no score.
pytestmark = [
    pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode at the start of training"),
]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Heads of some thousand weights instead of 25 million."""
    monkeypatch.setattr(detection, "_WIDTH", 32)


@pytest.fixture(scope="module")
def oxford(tmp_path_factory) -> Path:
    """The queries' pictures and a few more."""
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(writer, "PICTURES", {"good": 5, "ok": 1, "junk": 1})
        fewer.setattr(writer, "STREETS", 1)
        return synthesize("oxford5k", tmp_path_factory.mktemp("data") / "oxford5k")


def words(config: str, dataset: str, root: Path, *more: str) -> list[str]:
    files = ["trainer.yaml", f"datasets/{dataset}.yaml", config]
    stack = [word for file in files for word in ("--config", str(BENCHMARKS / file))]
    options = [word for key, value in SMALL.items() for word in (f"--model.init_args.{key}", str(value))]
    where = ("--data.init_args.root", str(root), "--data.init_args.num_workers", "0")
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.logger", "false")
    return [*stack, *options, *where, *quiet, *more]


def fit(dataset: str, root: Path, *more: str) -> int:
    return main(["fit", *words("methods/query_detector.yaml", dataset, root, *more)])


def learn(folder: Path, oxford: Path, *, resume: Path | None = None, kill_at: int = -1) -> tuple[Path, list[float]]:
    """Fit with a higher rate, for the trunk is random; returns the checkpoint and the losses."""
    seed_everything(0, workers=True, verbose=False)
    method = QueryDetector(
        **SMALL,
        classes=5,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
    )
    losses = []
    step = method.training_step
    method.training_step = lambda *batch: losses.append(step(*batch)) or losses[-1]
    trainer = BenchmarkTrainer(
        default_root_dir=folder, max_steps=STEPS, logger=False, callbacks=[KillAt(kill_at)], **QUIET
    )
    trainer.fit(
        method,
        datamodule=Oxford5kDataModule(root=oxford, protocol="crop-x", num_workers=0),
        ckpt_path=resume,
        weights_only=True,
    )
    return folder / "checkpoints" / "last.ckpt", [loss.item() for loss in losses]


@pytest.fixture(scope="module")
def learned(oxford, tmp_path_factory) -> tuple[Path, list[float]]:
    """A fit that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "_WIDTH", 32)
        return learn(tmp_path_factory.mktemp("whole"), oxford)


def state(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)["state_dict"]


def test_the_loss_falls(learned):
    assert np.mean(learned[1][-10:]) < 0.7 * np.mean(learned[1][:5])


def test_a_killed_fit_ends_with_the_same_network(learned, oxford, tmp_path):
    with pytest.raises(Killed):
        learn(tmp_path, oxford, kill_at=28)
    file = tmp_path / "checkpoints" / "last.ckpt"
    _, losses = learn(tmp_path, oxford, resume=file)
    assert losses == learned[1][25:]
    one, other = state(learned[0]), state(file)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_convolutions_from_the_third_group_on_move_and_all_else_of_the_trunk_stays(learned):
    seed_everything(0, workers=True, verbose=False)
    before, after = QueryDetector(**SMALL, classes=5).state_dict(), state(learned[0])
    trunk = [name for name in after if name.startswith("backbone.trunk.")]
    moved = {name for name in trunk if not torch.equal(before[name], after[name])}
    last = tuple(f"backbone.trunk.layer{i}" for i in (2, 3, 4))
    assert moved == {name for name in trunk if after[name].ndim == 4 and name.startswith(last)}


@pytest.mark.parametrize("tap", ["last_at_16", "stride16"])
def test_udq_has_the_trunk_and_says_that_it_knows_the_queries(tap, learned):
    method = UDQ(backbone="resnet18", weights=str(learned[0]), tap=tap, dim=8)
    expected = state(learned[0])
    assert all(
        torch.equal(value, expected[f"backbone.trunk.{k}"]) for k, value in method.backbone.trunk.state_dict().items()
    )
    assert method.trunk_from == f"a trunk trained on {LEAK}, before that a trunk of random weights"


def test_the_result_of_udq_says_so(learned, oxford, run_folder):
    folder = run_folder(dataset="oxford5k", method="udq")
    small = ("--model.init_args.rounds", "null", "--model.init_args.proposals_per_image", "6")
    codes = ("--model.init_args.dim", "8", "--model.init_args.subspaces", "2", "--model.init_args.codewords", "4")
    trunk = ("--model.init_args.weights", str(learned[0]), "--trainer.run_dir", str(folder))
    assert main(["benchmark", *words("methods/udq.yaml", "oxford5k", oxford, *small, *codes, *trunk)]) == 0
    assert sum(LEAK in note for note in read_result(folder / "result.json").notes) == 1


def test_the_shipped_config_fits_and_its_checkpoint_is_enough(oxford, tmp_path):
    more = ("--trainer.max_steps", "2", "--trainer.default_root_dir", str(tmp_path), "--model.init_args.classes", "5")
    assert fit("oxford5k", oxford, *more) == 0
    file = tmp_path / "checkpoints" / "last.ckpt"
    trained = load_network(file, QueryDetector)
    assert trained.learned_from.startswith(LEAK)
    saved = state(file)
    assert all(torch.equal(value, saved[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "classes is 11, and the queries of oxford5k show 5: set --model.init_args.classes 5"),
        (
            ("--data.init_args.protocol", "crop-i"),
            "protocol 'crop-i' of oxford5k crops queries to their boxes, and QueryDetector learns where in a picture "
            "they are: use another protocol",
        ),
    ],
    ids=["other classes", "cropped queries"],
)
def test_what_does_not_fit_is_said_in_one_line(more, message, oxford, tmp_path, capsys):
    assert fit("oxford5k", oxford, "--trainer.default_root_dir", str(tmp_path), *more) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"retrieval-bench: {message}"


def test_data_without_queries_boxes_are_refused_in_one_line(tmp_path, capsys):
    root = synthesize("sop", tmp_path / "sop")
    more = ("--data.init_args.protocol", "null", "--trainer.default_root_dir", str(tmp_path))
    assert fit("sop", root, *more) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "retrieval-bench: sop has no queries with boxes and classes, which QueryDetector learns from: train it on "
        "landmarks"
    )
