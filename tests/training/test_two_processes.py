"""One process or two: the same numbers, one result, one checkpoint."""

from pathlib import Path

import pytest
import torch
from method_cases import CASES, others_slow
from pytorch_lightning import Trainer, seed_everything
from trainers import QUIET

from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.training.trainer import BenchmarkTrainer


@pytest.fixture(scope="module")
def awkward(miniature: Path, tmp_path_factory) -> Path:
    """99 evaluation images, which neither two processes nor batches of 7 divide."""
    target = tmp_path_factory.mktemp("awkward") / "cub"
    return cut_subset(dataset_class("cub")(miniature), target, classes=18, images_per_class=11)


def evaluate(name: str, data: Path, devices: int, folder: Path) -> tuple[dict, dict, Descriptors | None]:
    seed_everything(0, verbose=False)
    method = CASES[name]().eval()
    strategy = "ddp" if devices == 2 else "auto"
    trainer = Trainer(devices=devices, strategy=strategy, logger=False, default_root_dir=folder, **QUIET)
    trainer.validate(method, datamodule=CubDataModule(data, eval_batch_size=7, num_workers=0), verbose=False)
    return method.evaluation.metrics, method.evaluation.per_query, method.descriptors


@pytest.mark.parametrize("name", others_slow(CASES))
def test_two_processes_score_as_one(name, awkward, tmp_path, two_processes):
    (alone,) = [evaluate(name, awkward, 1, tmp_path)]
    first, second = two_processes(evaluate, name, awkward, 2, tmp_path)
    assert first[0] == second[0] == alone[0]
    assert all((first[1][key] == alone[1][key]).all() for key in alone[1])
    assert torch.equal(alone[2].image, first[2].image)
    assert len(first[2].image.unique()) == 99
    torch.testing.assert_close(first[2].data.float(), alone[2].data.float(), atol=1e-6, rtol=0)
    assert second[2] is None


def train(name: str, data: Path, folder: Path) -> float:
    seed_everything(0, workers=True, verbose=False)
    method = CASES[name]()
    trainer = BenchmarkTrainer(
        run_dir=str(folder), devices=2, strategy="ddp", max_steps=3, log_every_n_steps=1, **QUIET
    )
    trainer.benchmark(method, CubDataModule(data, classes_per_batch=4, images_per_class=2, num_workers=0))
    return sum(float(value.double().nan_to_num().sum()) for value in method.state_dict().values())


@pytest.mark.parametrize("name", others_slow(CASES))
def test_two_processes_train_one_network_and_write_one_result(name, awkward, run_folder, two_processes):
    folder = run_folder(compare_untrained=True)
    sums = two_processes(train, name, awkward, folder)
    assert sums[0] == sums[1]
    result = read_result(folder / "result.json")
    assert result.before is not None
    assert sorted(p.name for p in folder.rglob("*.part")) == []
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    states = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["RandomState"]["ranks"]
    assert len(states) == 2
