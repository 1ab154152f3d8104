"""The base of every method: it owns evaluation, and leaves to the paper what a paper may vary."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.gathering import gather, of_all_processes
from retrieval_bench.methods.postprocess import take_steps
from retrieval_bench.nn.preprocessing import Preprocessing
from retrieval_bench.retrieval.descriptors import Descriptors, save_sides
from retrieval_bench.retrieval.evaluate import Evaluation, evaluate
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.postprocessing import RetrievalState

Batch = dict[str, Tensor]


class TrainedNetwork(LightningModule):
    """A network that is trained on pictures and can be made again from its checkpoint.

    Attributes:
        preprocessing: What the network expects to see; the datamodule reads it.
    """

    preprocessing: Preprocessing
    optimizer: OptimizerCallable
    lr_scheduler: LRSchedulerCallable
    # Options that are callables or modules are not kept in checkpoints: they hold plain types and tensors only.
    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer", "lr_scheduler", "loss")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer works on; a method may give parts of itself options of their own."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler stepped once an iteration, as the papers count."""
        optimizer = self.optimizer(self.parameter_groups())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.lr_scheduler(optimizer), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the name of the method, and of its options those it has: the command line offers one to all."""
        checkpoint["method"] = type(self).__name__
        if "num_classes" not in signature(type(self)).parameters:
            checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}).pop("num_classes", None)


class RetrievalMethod(TrainedNetwork, ABC):
    """One paper: a network that describes pictures, how it is trained, and what it wants to see.

    A subclass gives ``embed``, and ``training_step`` if it is trained. Data are met in a batch (``image``, ``label``,
    ``index``) and in two facts of the datamodule: ``ground_truth`` and ``protocol``.

    Attributes:
        evaluation: The last evaluation: metrics, per-query values and costs.
        descriptors: What it was made from, on the first process.
        searched: What of them asked and what was searched, there; None after post-processing.
        postprocessed: What the trainer's post-processing then made of them, there; None without any.
        images_per_second: How fast pictures were described then: the median over batches, on one process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.evaluation: Evaluation | None = None
        self.descriptors: Descriptors | None = None
        self.searched: tuple[Descriptors, Descriptors] | None = None
        self.postprocessed: RetrievalState | None = None
        self.images_per_second: float | None = None
        self._shards: list[Descriptors] = []
        self._speeds: list[float] = []

    @abstractmethod
    def embed(self, batch: Batch) -> Descriptors:
        """Describe the pictures of a batch."""

    def fit_statistics(self) -> None:
        """Fit what is not trained by gradients (whitening, codebooks) into buffers, before training starts."""

    def searchable(self, descriptors: Descriptors, data: Any) -> tuple[Descriptors, Descriptors]:
        """What asks and what is searched, of the descriptors of all evaluation pictures: the same, for most methods.

        Args:
            descriptors: What ``embed`` gave.
            data: The datamodule.

        Returns:
            Descriptors of at least the queries, and of at least the gallery.
        """
        del data
        return descriptors, descriptors

    @property
    def bytes_per_image(self) -> float:
        """What a picture takes in the gallery, after an evaluation on the first process."""
        assert self.descriptors is not None
        return self.descriptors.data.nbytes / len(torch.unique(self.descriptors.image))

    def further_metrics(self, data: Any) -> dict[str, FloatArray]:
        """What the method measures besides the protocol's metrics, when ``descriptors`` are there.

        ``searched`` is there, too, unless the trainer post-processes.

        Args:
            data: The datamodule.

        Returns:
            For each name ``(q,)`` values of the queries in [0, 1], ``nan`` where a query has none.
        """
        del data
        return {}

    def training_batches(self) -> Iterable[Batch] | None:
        """Batches of the method's own that are learned from instead of pictures; None for pictures."""
        return None

    def on_fit_start(self) -> None:
        """Fit the statistics once; a resumed run finds them in its checkpoint."""
        if self.trainer.ckpt_path is None:
            self.fit_statistics()

    def _start_evaluation(self) -> None:
        self._shards, self._speeds = [], []

    def on_validation_epoch_start(self) -> None:
        """Forget the descriptors of the last pass."""
        self._start_evaluation()

    def on_test_epoch_start(self) -> None:
        """Forget the descriptors of the last pass."""
        self._start_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Describe one batch."""
        del batch_idx
        self._describe(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Describe one batch."""
        del batch_idx
        self._describe(batch)

    def on_predict_epoch_start(self) -> None:
        """Forget the descriptors of the last pass."""
        self._start_evaluation()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Describe one batch; Lightning collects which pictures it was, the descriptors are written at the end."""
        del batch_idx
        self._describe(batch)
        return batch["index"].cpu()

    def on_predict_epoch_end(self) -> None:
        """Write what an evaluation would compare to ``descriptors.npz`` in the trainer's folder."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        shards = self._of_all_pictures(data, everywhere=False)
        if not self.trainer.is_global_zero:
            return
        path = Path(self.trainer.default_root_dir) / "descriptors.npz"
        save_sides(*self.searchable(Descriptors.merge(shards), data), path, made_for=data.protocol.label)
        rank_zero_info(f"wrote the descriptors of {len(data.evaluation_rows)} pictures to {path}")
        if getattr(self.trainer, "postprocessing", ()):
            rank_zero_warn(f"--trainer.postprocessing was not applied: {path} is what its steps start from")

    def on_validation_epoch_end(self) -> None:
        """Search and score."""
        self._evaluate("val")

    def on_test_epoch_end(self) -> None:
        """Search and score."""
        self._evaluate("test")

    def _describe(self, batch: Batch) -> None:
        start = time.perf_counter()
        self._shards.append(self.embed(batch).cpu())  # waits for the device, too
        self._speeds.append(len(batch["image"]) / (time.perf_counter() - start))

    def _evaluate(self, stage: str) -> None:
        if self.trainer.sanity_checking:
            return
        self.images_per_second = median(self._speeds) if self._speeds else None
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        steps = getattr(self.trainer, "postprocessing", ())
        shards = self._of_all_pictures(data, everywhere=bool(steps))
        descriptors = Descriptors.merge(shards) if steps or self.trainer.is_global_zero else None
        # Every process takes the steps, for each looks at its share of the pictures; what the first one finds counts.
        after = take_steps(self, data, descriptors, steps) if steps and descriptors is not None else None
        if self.trainer.is_global_zero:
            self.descriptors = descriptors
            self.evaluation = self._scored(data, after).with_metrics(self.further_metrics(data))
        self.evaluation = self.trainer.strategy.broadcast(self.evaluation)
        assert self.evaluation is not None
        for name, value in self.evaluation.metrics.items():
            # Equal on all processes; the progress bar shows the main one.
            self.log(f"{stage}/{name}", value, prog_bar=name == data.protocol.main_metric, sync_dist=True)

    def _of_all_pictures(self, data: Any, *, everywhere: bool) -> list[Descriptors]:
        """What all processes have described, if an evaluation lacks nothing; on the first one, or on all."""
        own: set[int] = set().union(*(torch.unique(shard.image).tolist() for shard in self._shards))
        described = set().union(*of_all_processes(own))
        if missing := len(data.evaluation_rows) - len(described):
            raise OptionError(
                f"{missing} of {len(data.evaluation_rows)} evaluation images were not described, and scores need all: "
                "leave --trainer.fast_dev_run and the limits on validation, test and prediction batches alone"
            )
        shards = gather(self._shards, everywhere=everywhere)
        self._start_evaluation()
        return shards

    def _scored(self, data: Any, after: tuple[RetrievalState, tuple[str, ...]] | None) -> Evaluation:
        """The numbers of the descriptors, or of what came after them."""
        self.postprocessed, notes = after or (None, ())
        if self.postprocessed is None:
            assert self.descriptors is not None
            self.searched = self.searchable(self.descriptors, data)
            return evaluate(*self.searched, data.ground_truth, data.protocol, device=self.device)
        query, gallery, first = self.postprocessed.query, self.postprocessed.gallery, self.postprocessed.first
        numbers = evaluate(query, gallery, data.ground_truth, data.protocol, first=first, device=self.device)
        return replace(numbers, notes=notes)
