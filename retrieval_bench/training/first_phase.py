"""First phases that runs share: a network that several second phases start from is trained once."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from retrieval_bench.bench.config import config_hash
from retrieval_bench.methods.phases import PhasedMethod
from retrieval_bench.training.resume import AtomicCheckpointIO, RandomState, TrainingTime

if TYPE_CHECKING:
    from retrieval_bench.training.trainer import BenchmarkTrainer

# What of a trainer's options a trained network depends on, besides for how long it was trained.
_TRAINER_OPTIONS = (
    *("precision", "devices", "num_nodes", "strategy", "accumulate_grad_batches", "gradient_clip_val"),
    *("gradient_clip_algorithm", "limit_train_batches", "deterministic", "use_distributed_sampler"),
)


def first_phase_file(folder: Path, trainer: "BenchmarkTrainer", model: PhasedMethod, datamodule: Any) -> Path:
    """Where the first phase of a run is kept; runs that differ in their second phase alone share it.

    Args:
        folder: Where first phases are kept.
        trainer: Knows the run's options and seed.
        model: Its method.
        datamodule: Its data.

    Returns:
        The file, whether it is there or not.
    """
    config = trainer.resolved_config
    options = config.get("model", {}).get("init_args", {})
    shared = {
        "model": {"init_args": {k: v for k, v in options.items() if k in model.first_phase_options()}},
        "data": config["data"],
        "trainer": {k: v for k, v in config["trainer"].items() if k in _TRAINER_OPTIONS},
    }
    boxes = model.preprocessing.boxes
    facts = {
        "data": datamodule.table.fingerprint,
        "boxes": hashlib.sha256(boxes.read_bytes()).hexdigest() if boxes and boxes.is_file() else None,
        "seed": trainer.identity.seed if trainer.identity else 0,
    }
    return folder / f"{type(model).__name__}-{config_hash(shared, facts)}.ckpt"


class SharedFirstPhase(Callback):
    """Keeps the checkpoint that ends the first phase, without what belongs to the second or to this run.

    Args:
        file: Where; another run may have been faster.
        last: The checkpoint that is written after every epoch.
    """

    def __init__(self, file: Path, last: Path) -> None:
        self._file, self._last = file, last

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep it as the second phase starts."""
        self._keep(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep it where there is no second phase."""
        self._keep(trainer, pl_module)

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PhasedMethod)
        over = trainer.current_epoch == pl_module.first_phase_epochs
        if not over or not trainer.is_global_zero or self._file.exists():
            return
        checkpoint = torch.load(self._last, map_location="cpu", weights_only=True)
        kept = {RandomState.__name__, TrainingTime.__name__}
        checkpoint["callbacks"] = {k: v for k, v in checkpoint["callbacks"].items() if k in kept}
        state, later = checkpoint["state_dict"], pl_module.second_phase_parts()
        checkpoint["state_dict"] = {name: value for name, value in state.items() if not name.startswith(later)}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        AtomicCheckpointIO().save_checkpoint(checkpoint, self._file)
