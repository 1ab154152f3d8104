"""Lightning's command line over our methods and data: stacked configs, linked facts, misspelt options refused."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import yaml
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.errors import RetrievalBenchError, said
from retrieval_bench.methods import TrainedNetwork
from retrieval_bench.training.memory import keep_freed_memory
from retrieval_bench.training.trainer import BenchmarkTrainer

SUBCOMMANDS = ("fit", "validate", "test", "predict", "benchmark")
_PREDICT = (  # Lightning's own words are of a model's forward pass, and end in the middle
    "Write the descriptors of a data set, as its evaluation compares them, to descriptors.npz in "
    "--trainer.default_root_dir (by default here), for `retrieval-bench evaluate` and `ranked`. Post-processing is not "
    "applied: of a run that has it, `evaluate` finds the numbers before it."
)


class RetrievalCLI(LightningCLI):
    """``fit``, ``validate``, ``test``, ``predict`` and ``benchmark`` for every method on every data set."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's verbs and ours, with the arguments that are not options."""
        return {**LightningCLI.subcommands(), "benchmark": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Tell methods that classify how many classes there are."""
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the given options; Lightning warns where they are given and the process has some, too."""
        self.config = parser.parse_args(args)

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
        trainer: Any = self.trainer
        trainer.resolved_config = self._resolved


# Nothing the user could do anything about: Lightning with torch 2.14, predicting in batches of one shape, networks that
# have no score, and frozen trunks.
_NOISE = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r"You are using a custom batch sampler .* for prediction.*",
    r"You passed in a `val_dataloader` but have no `validation_step`.*",
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
)


def run(args: Sequence[str]) -> None:
    """Run one of ``SUBCOMMANDS``.

    Args:
        args: The subcommand and its options.

    Raises:
        RetrievalBenchError: If something is wrong that the user can mend.
    """
    # Lightning calls what jsonargparse will drop in version 5, which our bounds leave out.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
    keep_freed_memory()
    try:
        RetrievalCLI(
            TrainedNetwork,
            RetrievalDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=BenchmarkTrainer,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            parser_kwargs={"prog": "retrieval-bench", "predict": {"description": _PREDICT}},
            args=list(args),
        )
    except Exception as error:
        ours = _ours(error)
        if ours is None:
            raise
        raise ours from error


def _ours(error: BaseException) -> RetrievalBenchError | None:
    """The error of ours that a library wrapped into its own, if there is one."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, RetrievalBenchError):
        link = link.__cause__ or link.__context__
    if link is None:
        return None
    message = said(link)
    return link if message == str(link) else RetrievalBenchError(message)
