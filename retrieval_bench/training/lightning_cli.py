"""Lightning's command line over our methods and data: stacked configs, linked facts, misspelt options refused."""

from collections.abc import Sequence
from typing import Any

import yaml
from pytorch_lightning.cli import LightningCLI, SaveConfigCallback

from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.methods import RetrievalMethod
from retrieval_bench.training.trainer import BenchmarkTrainer

SUBCOMMANDS = ("fit", "validate", "test", "predict", "benchmark")


class RetrievalCLI(LightningCLI):
    """``fit``, ``validate``, ``test``, ``predict`` and ``benchmark`` for every method on every data set."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's verbs and ours, with the arguments that are not options."""
        return {**LightningCLI.subcommands(), "benchmark": {"model", "datamodule"}}

    def before_instantiate_classes(self) -> None:
        """Keep the configuration as it was resolved: it travels with the result."""
        settings = self.config[self.subcommand]
        self._resolved: dict[str, Any] = yaml.safe_load(
            self._parser(self.subcommand).dump(settings, skip_validation=True)
        )

    def instantiate_classes(self) -> None:
        """Build model, data and trainer, and hand the data what the model wants to see."""
        super().instantiate_classes()
        self.datamodule.preprocessing = self.model.preprocessing
        self.trainer.resolved_config = self._resolved


def run(args: Sequence[str]) -> None:
    """Run one of ``SUBCOMMANDS``.

    Args:
        args: The subcommand and its options.
    """
    RetrievalCLI(
        RetrievalMethod,
        RetrievalDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_class=BenchmarkTrainer,
        save_config_callback=SaveConfigCallback,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        parser_kwargs={"prog": "retrieval-bench"},
        args=list(args),
    )
