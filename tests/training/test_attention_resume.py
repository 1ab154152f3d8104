"""Regional attention's training with accumulated gradients, cut short or ended early: the same network in the end."""

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, seed_everything
from trainers import QUIET, Killed

from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import ImageNetDataModule
from retrieval_bench.methods import RegionalAttentionTraining
from retrieval_bench.training.trainer import BenchmarkTrainer

SMALL = {"backbone": "resnet18", "weights": "none", "resize": 32, "crop": 32}


class KillIn(Callback):
    """Before the last pass of the second epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == 1 and batch_idx == 6:
            raise Killed


@pytest.fixture(scope="module")
def pictures(drawn):
    return drawn("imagenet")


def benchmark(folder, pictures, callbacks=(), **options) -> int:
    seed_everything(0, workers=True, verbose=False)
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        max_epochs=3,
        limit_train_batches=8,
        accumulate_grad_batches=4,
        check_val_every_n_epoch=1,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **QUIET,
    )
    method = RegionalAttentionTraining(num_classes=20, **SMALL, **options)
    trainer.benchmark(method, ImageNetDataModule(pictures, batch_size=4, num_workers=0))
    return trainer.global_step


def state(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_accumulated_gradients_survive_a_kill(pictures, run_folder):
    whole, cut = run_folder("whole", dataset="imagenet"), run_folder("cut", dataset="imagenet")
    assert benchmark(whole, pictures) == 6
    with pytest.raises(Killed):
        benchmark(cut, pictures, [KillIn()])
    assert benchmark(cut, pictures) == 6
    one, other = state(whole), state(cut)
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert not torch.equal(one["candidate.out.weight"], state_before(SMALL)["candidate.out.weight"])
    results = [read_result(folder / "result.json") for folder in (whole, cut)]
    assert results[0].metrics == results[1].metrics
    assert "accuracy" in results[0].metrics


def state_before(options) -> dict[str, torch.Tensor]:
    seed_everything(0, workers=True, verbose=False)
    return RegionalAttentionTraining(num_classes=20, **options).state_dict()


def test_a_training_that_had_ended_early_does_not_go_on(pictures, run_folder, monkeypatch):
    folder = run_folder(dataset="imagenet")

    def nothing_right(_, data):
        return {"accuracy": np.zeros(len(data.ground_truth.query))}

    monkeypatch.setattr(RegionalAttentionTraining, "further_metrics", nothing_right)
    steps = benchmark(folder, pictures, patience=1)
    assert steps == 4  # the second check found nothing better than the first
    (folder / "result.json").unlink()
    assert benchmark(folder, pictures, patience=1) == steps
