"""The data module of every data set: tables and pictures in, batches out."""

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.cache import CachedPictures
from retrieval_bench.datamodules.facts import DataFacts
from retrieval_bench.datamodules.images import (
    Batch,
    DecodedPictures,
    EvaluationImages,
    PictureSource,
    TrainingImages,
    collate,
    picture_shapes,
)
from retrieval_bench.datamodules.proposals import ProposedImages, wanted_proposals
from retrieval_bench.datamodules.reference import own_reference_rows, reference_rows
from retrieval_bench.datamodules.samplers import (
    ClassBalancedBatchSampler,
    IntArray,
    ShapeBatchSampler,
    ShuffledBatchSampler,
    StridedSampler,
    refuse_foreign_samplers,
)
from retrieval_bench.datasets.images import image_size
from retrieval_bench.datasets.proposals import TableProposals
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import Preprocessing, normalize


class RetrievalDataModule(DataFacts):
    """Batches of one data set under one protocol.

    A batch is a dictionary of ``image (B, 3, H, W)``, ``label (B,)`` and ``index (B,)``, the row in the table, both
    int64, and, if the table has boxes, ``box (B, 4)`` float32: x1, y1, x2, y2 in pixels of ``image``. Loaders give
    uint8 images; they become float32 on the device. In training the labels count from 0 to ``num_classes - 1``; in
    evaluation they are the table's. Where the protocol crops the activations of queries, ``window (B, 4)`` is the part
    of the picture that counts, in the same pixels; the whole picture for all that are no queries. Where the method
    asks for region proposals, ``proposals (B, R, 4)`` float32 are those of whole pictures, in the same pixels.

    Attributes:
        preprocessing: How the network wants its pictures. If nobody sets it, it is asked of the method that is
            trained or tested.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        protocol: str | None = None,
        classes_per_batch: int = 16,
        images_per_class: int = 5,
        batch_size: int | None = None,
        eval_batch_size: int = 64,
        num_workers: int | None = None,
        cache: bool | str | Path = False,
        reference: str | None = None,
        reference_root: str | Path | None = None,
    ) -> None:
        """Choose data and batches; nothing is read yet.

        Args:
            root: The folder of the data set; by default its name under ``$RETRIEVAL_BENCH_DATA``, or under ``data``.
            protocol: The name of one of the data set's protocols; by default its first.
            classes_per_batch: P, the classes in a training batch of one process (ABIR, section 3: 80 images a batch).
            images_per_class: K, the images of each (about as many as SOP and In-shop have of a product).
            batch_size: Train on shuffled batches of so many images for each process instead, as classifiers are.
            eval_batch_size: Images in an evaluation batch of one process, at most.
            num_workers: Loader processes of each process; by default as many as it has cores, at most 8.
            cache: Keep decoded, resized pictures in this folder; true for a folder ``.cache`` beside them.
            reference: The key of another data set, from whose pictures statistics are learned: those of training, or
                the gallery where there are none. By default this one's own; for landmarks the other city's.
            reference_root: Its folder; by default beside this data set's own.
        """
        super().__init__(root, protocol, reference, reference_root)
        self.preprocessing: Preprocessing | None = None
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.cache = cache
        self._pictures: PictureSource | None = None

    @property
    def seed(self) -> int:
        """What all chance in training batches comes from: the seed of the run."""
        return int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed()))

    @cached_property
    def proposals(self) -> TableProposals | None:
        """The region proposals of every row, if the method asks for them."""
        return wanted_proposals(self.dataset, self._recipe())

    def original_boxes(self, boxes: Tensor, image: Tensor) -> Tensor:
        """Carry boxes of pictures that are not cropped back to the original images.

        Args:
            boxes: ``(n, 4)`` x1, y1, x2, y2 in pixels of the pictures as they are evaluated.
            image: ``(n,)`` int64 rows of the table.

        Returns:
            ``(n, 4)`` float32.
        """
        rows, which = torch.unique(image, return_inverse=True)
        decoded = DecodedPictures(self.dataset, self._recipe())
        seen = torch.from_numpy(picture_shapes(decoded, rows.numpy()))
        given = torch.tensor([image_size(self.dataset.image_path(row)) for row in rows.tolist()])
        return boxes * (given / seen).flip(1).repeat(1, 2)[which]

    def setup(self, stage: str | None = None) -> None:
        """Prepare the pictures as the method wants them.

        Raises:
            OptionError: If nobody says what the method wants, or the trainer would put its samplers before ours.
        """
        del stage
        if self.trainer is not None:
            refuse_foreign_samplers(self.trainer)
        decoded = DecodedPictures(self.dataset, self._recipe())
        if self.cache is False:
            self._pictures = decoded
        else:
            folder = self.dataset.root / ".cache" if self.cache is True else Path(self.cache)
            self._pictures = CachedPictures(decoded, folder, self._workers())

    def train_dataloader(self) -> Iterable[Batch]:
        """Batches of augmented pictures, or whatever the method would rather learn from now."""
        method: Any = self.trainer.lightning_module if self.trainer is not None else None
        own: Iterable[Batch] | None = method.training_batches() if hasattr(method, "training_batches") else None
        if own is not None:
            return own
        return self._shuffled_loader(self._training_images(), self._training_sampler())

    def shuffled_dataloader(self, rows: IntArray) -> DataLoader[Batch]:
        """Some pictures to train on, whatever their role, one by one, in an order drawn anew each epoch.

        Args:
            rows: Which rows of the table.
        """
        rank, world_size = self._place()
        sampler = ShuffledBatchSampler(rows, 1, seed=self.seed, rank=rank, world_size=world_size)
        images = TrainingImages(self._source(), self.table.label, self._recipe())
        return self._shuffled_loader(self._with_proposals(images), sampler)

    def _training_images(self) -> Dataset[Batch]:
        return TrainingImages(self._source(), self.training_labels, self._recipe())

    def _training_sampler(self) -> ClassBalancedBatchSampler | ShuffledBatchSampler:
        rank, world_size = self._place()
        if self.batch_size is not None:
            rows = np.flatnonzero(self.training_labels >= 0).astype(np.int64)
            return ShuffledBatchSampler(rows, self.batch_size, seed=self.seed, rank=rank, world_size=world_size)
        return ClassBalancedBatchSampler(
            self.training_labels,
            self.classes_per_batch,
            self.images_per_class,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every query and gallery picture once over all ranks."""
        return self.picture_dataloader(self.evaluation_rows)

    def picture_dataloader(self, rows: IntArray) -> DataLoader[Batch]:
        """Pictures as they are evaluated, each once over all ranks; those that keep their aspect share a shape a batch.

        Args:
            rows: Which rows of the table.
        """
        return self._evaluation_loader(self._source(), self.table.label, rows)

    def reference_dataloader(self) -> DataLoader[Batch]:
        """The pictures that statistics are learned from, as they are evaluated.

        Batches come from the host as the loader makes them: ``prepared`` makes them what the network sees.

        Raises:
            OptionError: If the data set has none but those that are evaluated.
        """
        if self.reference is self.dataset:
            return self.picture_dataloader(own_reference_rows(self.dataset))
        source = DecodedPictures(self.reference, replace(self._recipe(), boxes=None))
        return self._evaluation_loader(source, self.reference.table.label, reference_rows(self.reference))

    def prepared(self, batch: Batch, device: torch.device) -> Batch:
        """A loader's batch on a device, its pixels turned into the network's values, as Lightning does by itself."""
        moved = {key: value.to(device) for key, value in batch.items()}
        return self.on_after_batch_transfer(moved, 0)

    def _evaluation_loader(self, source: PictureSource, label: IntArray, rows: IntArray) -> DataLoader[Batch]:
        rank, world_size = self._place()
        recipe = self._recipe()
        images: Dataset[Batch] = EvaluationImages(source, label, rows, recipe)
        if source is self._pictures:
            images = self._with_proposals(images)
        if isinstance(source, DecodedPictures) and recipe.crop is None and not isinstance(recipe.resize, tuple):
            shapes = picture_shapes(source, rows)
            by_shape = ShapeBatchSampler(shapes, self.eval_batch_size, rank=rank, world_size=world_size)
            return self._loader(images, batch_sampler=by_shape)
        sampler = StridedSampler(len(rows), rank=rank, world_size=world_size)
        return self._loader(images, sampler=sampler, batch_size=self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The same pictures as in validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same pictures as in validation."""
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn pixels into the network's values, on the device, and name the box what it is there for."""
        del dataloader_idx
        if "image" not in batch:
            return batch  # a method's own
        if self.protocol.query_crop == "activations" and "box" in batch:
            batch = {**batch, "window": batch["box"]}
        return {**batch, "image": normalize(batch["image"].contiguous(), self._recipe().family)}

    def _with_proposals(self, images: Dataset[Batch]) -> Dataset[Batch]:
        return images if self.proposals is None else ProposedImages(images, self.proposals)

    def _shuffled_loader(
        self, images: Dataset[Batch], sampler: ClassBalancedBatchSampler | ShuffledBatchSampler
    ) -> DataLoader[Batch]:
        if self.trainer is not None:
            # Workers fetch their first batches before Lightning tells the epoch of a resumed run.
            current: Any = self.trainer.fit_loop.epoch_progress.current  # annotated with its base class
            sampler.set_epoch(current.processed)
        return self._loader(images, batch_sampler=sampler)

    def _loader(self, images: Dataset[Batch], **batches: Any) -> DataLoader[Batch]:
        workers = self._workers()
        return DataLoader(
            images,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            # Its own generator: a loader draws from the global one as often as its workers start.
            generator=torch.Generator(),
            **batches,
        )

    def _source(self) -> PictureSource:
        if self._pictures is None:
            self.setup()
        assert self._pictures is not None
        return self._pictures

    def _recipe(self) -> Preprocessing:
        method = self.trainer.lightning_module if self.trainer is not None else None
        recipe = self.preprocessing or getattr(method, "preprocessing", None)
        if recipe is None:
            who = f"{type(method).__name__} has no attribute preprocessing" if method else "there is no trainer yet"
            raise OptionError(
                f"{type(self).__name__} does not know how to prepare pictures: {who}. "
                "Set its attribute preprocessing to a retrieval_bench.nn.preprocessing.Preprocessing"
            )
        return recipe

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(8, cores // (self.trainer.num_devices if self.trainer is not None else 1))
