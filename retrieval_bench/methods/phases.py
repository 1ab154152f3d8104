"""Training in two phases within one fit, each with parameters and batches of its own."""

from abc import abstractmethod
from typing import Any

from pytorch_lightning.strategies import DDPStrategy

from retrieval_bench.methods.base import RetrievalMethod


class PhasedMethod(RetrievalMethod):
    """A method whose second phase starts after some epochs, and which may start there from another run's first.

    Attributes:
        first_phase_epochs: Epochs of the first phase.
        second_phase_epochs: Epochs of the second, unless the trainer's ``max_epochs`` ends it before.
    """

    first_phase_epochs: int
    second_phase_epochs: int

    @abstractmethod
    def first_phase_options(self) -> set[str]:
        """The options that the first phase depends on; runs that differ in others alone may share it."""

    @abstractmethod
    def second_phase_parts(self) -> tuple[str, ...]:
        """What names of the parameters and buffers begin with that the first phase does not train."""

    @property
    def second_phase(self) -> bool:
        """Whether the second phase is on."""
        return self.trainer.current_epoch >= self.first_phase_epochs

    def setup(self, stage: str) -> None:
        """Say how long to train, and let processes know of all parameters, of which each phase trains its own."""
        if stage == "fit":
            both, given = self.first_phase_epochs + self.second_phase_epochs, self.trainer.max_epochs
            self.trainer.fit_loop.max_epochs = both if given in (None, -1) else min(both, given)
            self.requires_grad_(True)
            if isinstance(strategy := self.trainer.strategy, DDPStrategy):
                strategy._ddp_kwargs["find_unused_parameters"] = True

    def on_train_start(self) -> None:
        """Have Lightning ask for batches again when the second phase starts."""
        trainer: Any = self.trainer  # Lightning sets the attribute outside of the class
        trainer.reload_dataloaders_every_n_epochs = max(0, self.first_phase_epochs - trainer.current_epoch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave as it is what a shared first phase does not hold."""
        own = {name: value for name, value in self.state_dict().items() if name.startswith(self.second_phase_parts())}
        checkpoint["state_dict"] = {**own, **checkpoint["state_dict"]}
