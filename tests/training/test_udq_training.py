"""UDQ with a trunk that is trained: killed anywhere, in one process or two, it ends as if nothing had happened."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, seed_everything

from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.datamodules.proposals import make_proposals
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.images import image_size
from retrieval_bench.datasets.proposals import read_proposals
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.methods import UDQ
from retrieval_bench.nn.preprocessing import MinSide
from retrieval_bench.nn.rpn import ProposalNetwork
from retrieval_bench.training.trainer import BenchmarkTrainer


class Killed(BaseException):
    """Ends a run between two steps."""


class Steps(Callback):
    """Counts the steps of one piece of a run, and ends it after one of them."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at, self.count = kill_at, 0

    def on_train_batch_end(self, trainer, *args) -> None:
        self.count += 1
        if trainer.global_step == self.kill_at:
            raise Killed


@pytest.fixture(scope="module")
def few(miniature: Path, tmp_path_factory) -> Path:
    """12 pictures to describe, to learn from and to search."""
    return cut_subset(
        dataset_class("cub")(miniature), tmp_path_factory.mktemp("few") / "cub", classes=8, images_per_class=3
    )


SMALL = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "shorter_side": 32, "longest_side": 48}


def benchmark(folder: Path, data: Path, *, kill_at: int = -1, devices: int = 1, **options: object) -> tuple[UDQ, int]:
    """Two rounds of two epochs, or with other options; returns the method and how many steps it took."""
    seed_everything(0, workers=True, verbose=False)
    codes = {"dim": 8, "subspaces": 2, "codewords": 4, "rounds": 1}
    method = UDQ(**{**SMALL, **codes, "proposals_per_image": 6, "regions_per_step": 4, **options})
    steps = Steps(kill_at)
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=-1,
        accelerator="cpu",
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[steps],
    )
    trainer.benchmark(method, CubDataModule(data, num_workers=0))
    return method, steps.count


@pytest.fixture(scope="module")
def whole(few: Path, tmp_path_factory) -> Path:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    identity = {"suite": "test", "dataset": "cub", "method": "udq", "variant": None, "seed": 0, "config_hash": "0"}
    (folder / "run.json").write_text(json.dumps(identity))
    assert benchmark(folder, few)[1] == 4 * 12
    return folder


def network(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {**checkpoint["state_dict"], "codes": checkpoint["codes"]}


@pytest.mark.parametrize(("kill_at", "left"), [(18, 36), (27, 24)], ids=["inside of a round", "in the round after"])
def test_a_killed_run_ends_with_the_same_network_and_codes(kill_at, left, few, whole, run_folder):
    cut = run_folder("cut")
    with pytest.raises(Killed):
        benchmark(cut, few, kill_at=kill_at)
    assert benchmark(cut, few)[1] == left
    one, other = network(whole), network(cut)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert read_result(whole / "result.json").metrics == read_result(cut / "result.json").metrics


def test_the_third_group_of_convolutions_is_trained_and_what_is_before_stays(whole):
    seed_everything(0, workers=True, verbose=False)
    before = UDQ(**SMALL, dim=8).state_dict()
    after = network(whole)
    trunk = [name for name in after if name.startswith("backbone.trunk.")]
    moved = {name for name in trunk if not torch.equal(before[name], after[name])}
    convolutions = {name for name in trunk if after[name].ndim == 4}
    assert moved == {
        name for name in convolutions if name.startswith(("backbone.trunk.layer2", "backbone.trunk.layer3"))
    }


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(x.detach().contiguous().numpy().tobytes() for x in tensors)).hexdigest()


def facts(folder: Path, data: Path) -> tuple[str, str, int]:
    method, steps = benchmark(folder, data, devices=2)
    return digest(*method.state_dict().values()), digest(method._codes), steps


def test_two_processes_have_one_network_one_set_of_codebooks_and_all_codes(few, run_folder, two_processes):
    first, second = two_processes(facts, run_folder("two"), few)
    assert first == second
    assert first[2] == 4 * 6  # a picture a step and process


def test_proposals_of_an_rpn_are_what_is_described_coded_and_returned(few, run_folder, tmp_path):
    torch.manual_seed(1)
    network = ProposalNetwork("squeezenet1_0", "none", anchors=(8, 16), count=9).eval()
    dataset = dataset_class("cub")(few)
    file = make_proposals(network, dataset, tmp_path / "boxes", MinSide(32, 48), learned_from="the boxes of voc2007")
    method, steps = benchmark(run_folder(), few, proposals=str(tmp_path / "boxes"), rounds=None)
    assert steps == 0
    assert any(
        note.endswith("without labels; a trunk of random weights; proposals learned from the boxes of voc2007")
        for note in read_result(tmp_path / "run" / "result.json").notes
    )
    proposed, gallery = read_proposals(file, dataset), method.searched[1]
    for row in gallery.image.unique().tolist():
        seen, original = proposed.size[row], image_size(dataset.image_path(row))
        expected = torch.from_numpy(proposed.boxes[row, :6]) * torch.tensor([original[1], original[0]] * 2) / seen[0]
        expected[:, 1::2] *= seen[0] / seen[1]
        torch.testing.assert_close(gallery.boxes[gallery.image == row], expected, rtol=1e-4, atol=1e-3)


def test_features_off_the_shelf_are_those_of_pca_times_one_number(few, run_folder):
    method, _ = benchmark(run_folder(), few, rounds=None, train_backbone=False)
    vectors = method._cached().vectors.flatten(0, 1)
    with torch.no_grad():
        features = method.feature(vectors).double() / method.feature_scale
    centred = vectors.double() - vectors.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(features.abs(), (centred @ directions[:8].T).abs(), rtol=1e-3, atol=1e-4)
