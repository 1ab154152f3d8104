"""Settings of trainers in tests, what counts the steps of a run, and what ends it between two."""

from typing import Any

from pytorch_lightning import Callback

# One process, nothing on the screen.
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "use_distributed_sampler": False,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
# Nothing on disk, either.
BARE = {**QUIET, "logger": False, "enable_checkpointing": False}


class Steps(Callback):
    """Counts the steps of one piece of a run."""

    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_end(self, *args) -> None:
        self.count += 1


class Killed(BaseException):
    """Ends a run between two steps; a real kill is in test_kill."""


class KillAt(Callback):
    """At the end of a step; at step 0 before the test."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.global_step == self.step:
            raise Killed

    def on_test_start(self, *args) -> None:
        if self.step == 0:
            raise Killed
