"""A run that was cut short and started again is, bit for bit, the run that was not."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from method_cases import CASES, others_slow
from pytorch_lightning import seed_everything
from trainers import QUIET, KillAt, Killed, Steps

from retrieval_bench import methods
from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.training.resume import AtomicCheckpointIO, RandomState, TrainingTime
from retrieval_bench.training.trainer import BenchmarkTrainer


class Restless(methods.ABIR):
    """A method whose training draws from every generator there is."""

    def training_step(self, batch, batch_idx):
        noise = torch.rand(()).item() + np.random.rand() + random.random()
        return noise * super().training_step(batch, batch_idx)


def restless() -> Restless:
    return Restless(backbone="squeezenet1_0", weights="none", dim=16, attention_dim=8, resize=72, crop=64)


METHODS = {**CASES, "restless": restless}
FITTED = sorted(name for name, make in CASES.items() if not make().configure_optimizers())
TRAINED = sorted(CASES.keys() - FITTED)


def benchmark(folder: Path, data: Path, name: str, workers: int = 0, kill_at: int | None = None) -> int:
    """Make a run, or go on with it; returns how many steps it took."""
    steps = Steps()
    seed_everything(0, workers=True, verbose=False)
    method = METHODS[name]()
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        max_steps=8,
        check_val_every_n_epoch=1,
        log_every_n_steps=1,
        callbacks=[steps] if kill_at is None else [KillAt(kill_at)],
        **QUIET,
    )
    # 120 training images in batches of 40: three steps an epoch.
    module = CubDataModule(data, classes_per_batch=8, images_per_class=5, num_workers=workers)
    trainer.benchmark(method, module)
    return steps.count


@pytest.mark.parametrize("name", others_slow(["restless", *TRAINED]))
def test_a_run_killed_within_an_epoch_ends_as_if_it_had_not_been(name, miniature, run_folder):
    workers = 2 if name == "restless" else 0
    whole, cut = run_folder("whole", compare_untrained=True), run_folder("cut", compare_untrained=True)
    benchmark(whole, miniature, name, workers)
    with pytest.raises(Killed):
        benchmark(cut, miniature, name, workers, kill_at=5)
    assert not (cut / "result.json").exists()
    assert benchmark(cut, miniature, name, workers) == 5  # from the end of the first epoch on: 3 of 8 were kept

    one, other = read_result(whole / "result.json"), read_result(cut / "result.json")
    assert one.metrics == other.metrics
    assert one.before == other.before
    assert one.best == other.best
    a, b = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (whole, cut))
    assert a["global_step"] == b["global_step"] == 8
    assert all(torch.equal(value, b["state_dict"][key]) for key, value in a["state_dict"].items())
    x, y = (np.load(f / "per_query.npz") for f in (whole, cut))
    assert all(np.array_equal(x[key], y[key]) for key in x.files)


@pytest.mark.parametrize("name", others_slow(FITTED))
def test_a_run_killed_before_its_test_does_not_fit_again(name, miniature, run_folder, monkeypatch):
    whole, cut = run_folder("whole"), run_folder("cut")
    benchmark(whole, miniature, name)
    with pytest.raises(Killed):
        benchmark(cut, miniature, name, kill_at=0)
    monkeypatch.setattr(getattr(methods, name), "fit_statistics", None)  # whoever calls it now fails
    benchmark(cut, miniature, name)
    one, other = read_result(whole / "result.json"), read_result(cut / "result.json")
    assert one.metrics == other.metrics


def test_a_finished_run_that_lost_its_result_is_only_tested_again(miniature, run_folder):
    folder = run_folder()
    name = sorted(CASES)[0]
    benchmark(folder, miniature, name)
    first = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    benchmark(folder, miniature, name)
    again = json.loads((folder / "result.json").read_text())
    assert again["metrics"] == first["metrics"]
    assert again["cost"]["training_seconds"] == pytest.approx(first["cost"]["training_seconds"], abs=0.5)


def test_random_generators_return_to_where_they_were(monkeypatch):
    keeper = RandomState()
    state = keeper.state_dict()
    expected = (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())
    keeper.load_state_dict(state)

    class OneProcess:
        world_size, global_rank = 1, 0

    keeper.on_fit_start(OneProcess(), None)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == expected


def test_a_checkpoint_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"step": 1}, path)

    def torn(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("lightning_fabric.plugins.TorchCheckpointIO.save_checkpoint", torn)
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_training_time_adds_up_over_the_pieces(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("retrieval_bench.training.resume.time.perf_counter", lambda: now[0])
    clock = TrainingTime()
    clock.on_fit_start(None, None)
    now[0] = 5.0
    assert clock.state_dict() == {"seconds": 5.0}  # a checkpoint on the way
    now[0] = 7.0
    clock.on_validation_start(None, None)
    now[0] = 90.0
    clock.on_validation_end(SimpleNamespace(state=SimpleNamespace(fn="fit")), None)
    now[0] = 100.0
    clock.on_fit_end(None, None)
    assert clock.state_dict() == {"seconds": 17.0}
    resumed = TrainingTime()
    resumed.load_state_dict({"seconds": 7.0})
    resumed.on_fit_start(None, None)
    now[0] = 103.0
    resumed.on_fit_end(None, None)
    assert resumed.seconds == 10.0
