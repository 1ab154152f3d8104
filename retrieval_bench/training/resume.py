"""Exact resume: a run that was killed and started again ends where an uninterrupted one ends."""

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from retrieval_bench.methods.gathering import of_all_processes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there, so that a kill leaves the last one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save, then replace."""
        partial = Path(f"{path}.part")
        super().save_checkpoint(checkpoint, partial, storage_options)
        partial.replace(path)


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` after every epoch, and keeps no other: there is no validation split to choose by.

    Lightning's ModelCheckpoint writes its last one only together with others, and both write in the middle of what
    Lightning counts as an epoch, into which it does not find back exactly. Ours says that the epoch is over.

    Args:
        run_dir: The run's folder; by default that of Lightning's logger.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self._run_dir = run_dir
        self._saving = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it; Lightning calls this when all else of the epoch is done."""
        del pl_module
        folder = self._run_dir or Path(trainer.log_dir or trainer.default_root_dir)
        self._saving = True
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
        self._saving = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count the epoch as completed, and no batch of the next one as begun."""
        del pl_module
        if not self._saving:
            return
        loops = checkpoint["loops"]["fit_loop"]
        for count in (loops["epoch_progress"]["current"], loops["epoch_progress"]["total"]):
            count["completed"] = count["processed"]
        loops["epoch_loop.batch_progress"]["is_last_batch"] = False
        optimizer = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
        begun = [loops["epoch_loop.batch_progress"], loops["epoch_loop.scheduler_progress"], *optimizer.values()]
        for progress in begun:
            progress["current"] = dict.fromkeys(progress["current"], 0)
        if trainer.max_steps != -1:  # Lightning counts one more when it goes on towards a number of steps
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


class RandomState(Callback):
    """Keeps the random generators of every process in the checkpoint; Lightning by itself does not."""

    def __init__(self) -> None:
        self._loaded: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The generators of all processes; every process takes part in a checkpoint."""
        return {"ranks": of_all_processes(_generators())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts: what Lightning does in between may draw random numbers."""
        self._loaded = state_dict["ranks"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the generators back; when training starts is too late, the first batch may have been drawn."""
        del pl_module
        if self._loaded is not None and len(self._loaded) == trainer.world_size:
            _restore(self._loaded[trainer.global_rank])
        self._loaded = None


def _generators() -> dict[str, Any]:
    state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = state
    return {
        "torch": torch.get_rng_state(),
        # The device of this process alone: the next machine may have others.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "python": random.getstate(),
    }


def _restore(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


class TrainingTime(Callback):
    """Seconds spent in fitting and training, over all the pieces of an interrupted run, validation not counted.

    Attributes:
        seconds: The sum so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None

    def state_dict(self) -> dict[str, float]:
        """The sum up to this checkpoint."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return {"seconds": self.seconds + running}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on counting."""
        self.seconds = state_dict["seconds"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, before the method fits its statistics."""
        del trainer, pl_module
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        del trainer, pl_module
        self._pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on counting."""
        del pl_module
        if trainer.state.fn == "fit":
            self._since = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, after the method has fitted what it fits in the end."""
        del trainer, pl_module
        self._pause()

    def _pause(self) -> None:
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since
            self._since = None


class BestOnTest(Callback):
    """The best evaluation seen during training: never the result, kept only to be shown as such.

    Attributes:
        metrics: The metrics of the epoch in which the main one was highest.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, float] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"metrics": self.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best so far."""
        self.metrics = state_dict["metrics"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare."""
        evaluation = getattr(pl_module, "evaluation", None)
        if evaluation is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        main = trainer.datamodule.protocol.main_metric  # type: ignore[attr-defined]  # Lightning sets it
        if self.metrics is None or evaluation.metrics[main] > self.metrics[main]:
            self.metrics = dict(evaluation.metrics)
