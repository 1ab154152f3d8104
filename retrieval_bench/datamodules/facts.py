"""What a data module knows of its data before a picture is opened."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pytorch_lightning import LightningDataModule

from retrieval_bench.datamodules.reference import reference_dataset, reference_words
from retrieval_bench.datamodules.samplers import IntArray
from retrieval_bench.datasets.base import RetrievalDataset, default_root
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.protocol import Protocol


class DataFacts(LightningDataModule):
    """One data set under one protocol, and the data set that statistics are learned from; read when asked for.

    Args:
        root: The folder of the data set; None for the default.
        protocol: The name of one of its protocols; None for its first.
        reference: The key of another data set that statistics are learned from; None for the same one.
        reference_root: Its folder; None for beside this data set's own.

    Attributes:
        dataset_class: The data set of a subclass.
    """

    dataset_class: ClassVar[type[RetrievalDataset]]

    def __init__(
        self,
        root: str | Path | None,
        protocol: str | None,
        reference: str | None,
        reference_root: str | Path | None,
    ) -> None:
        super().__init__()
        self._root, self._protocol = root, protocol
        self._reference, self._reference_root = reference, reference_root

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set, read on first use."""
        return self.dataset_class(self._home, self._protocol)

    @property
    def _home(self) -> str | Path:
        return default_root(self.dataset_class.name) if self._root is None else self._root

    @property
    def table(self) -> SampleTable:
        """One row an image."""
        return self.dataset.table

    @property
    def protocol(self) -> Protocol:
        """How numbers on this data are made."""
        return self.dataset.protocol

    @property
    def ground_truth(self) -> GroundTruth:
        """Who asks, who is searched and who should be found."""
        return self.dataset.ground_truth

    @property
    def num_classes(self) -> int:
        """How many classes there are to train on."""
        return len(self.training_classes)

    @cached_property
    def training_labels(self) -> IntArray:
        """``(n,)`` for each row its training class, counted from 0; -1 for rows that are not trained on."""
        table = self.table
        usable = table.is_train & (table.label >= 0)
        labels = np.full(len(table), -1, np.int64)
        labels[usable] = np.searchsorted(self.training_classes, table.label[usable])
        return labels

    @cached_property
    def training_classes(self) -> IntArray:
        """``(num_classes,)`` the table's label of each training class."""
        table = self.table
        return np.unique(table.label[table.is_train & (table.label >= 0)])

    @property
    def evaluation_rows(self) -> IntArray:
        """Rows of queries and gallery, each once."""
        return np.flatnonzero(self.table.is_query | self.table.is_gallery).astype(np.int64)

    @property
    def database_rows(self) -> IntArray:
        """Rows of the gallery, without pictures that are there only to distract."""
        return self.table.rows("gallery")

    @cached_property
    def reference(self) -> RetrievalDataset:
        """The data set that statistics are learned from; a miniature's is drawn where it is missing.

        Raises:
            DatasetNotFoundError: If it is not at hand.
        """
        if self._reference is None:
            return self.dataset
        return reference_dataset(self._reference, self.dataset, self._home, self._reference_root)

    @property
    def reference_name(self) -> str:
        """What ``reference_dataloader`` shows, in words, for the notes of a result."""
        return reference_words(self.reference)
