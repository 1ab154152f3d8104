"""Batches of Oxford5k, Paris6k, their revisited ground truths, and the same among distractors."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.samplers import IntArray
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.oxford_paris import LandmarkDataset, Oxford5k, Oxford105k, Paris6k, Paris106k
from retrieval_bench.datasets.revisited import ROxford5k, RParis6k


class LandmarkDataModule(RetrievalDataModule):
    """Landmarks; see ``LandmarkDataset`` for layouts and protocols.

    There is nothing to train on. Statistics are learned from the database of the other city, as is the custom.
    """

    def __init__(self, distractors: str | Path | None = None, reference: str | None = None, **options: Any) -> None:
        """Choose data and batches; nothing is read yet.

        Args:
            distractors: A folder of pictures that are searched along with the database; by default none, or for
                Oxford105k and Paris106k ``flickr100k`` in the data set's folder or beside it.
            reference: The key of the data set that statistics are learned from; by default the other city.
            **options: As for every data module.
        """
        other = "paris6k" if "oxford" in self.dataset_class.name else "oxford5k"
        super().__init__(reference=reference or other, **options)
        self._distractors = distractors

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set, read on first use."""
        kind = cast("type[LandmarkDataset]", self.dataset_class)
        return kind(self._home, self._protocol, distractors=self._distractors)

    @property
    def database_rows(self) -> IntArray:
        """The pictures of the city."""
        last = int(np.searchsorted(super().database_rows, self.table.rows("query")[-1]))
        return super().database_rows[:last]  # as the table is ordered, see ``LandmarkDataset``


class Oxford5kDataModule(LandmarkDataModule):
    """The Oxford Buildings."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Oxford5k


class Paris6kDataModule(LandmarkDataModule):
    """Paris."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Paris6k


class Oxford105kDataModule(LandmarkDataModule):
    """The Oxford Buildings among Flickr100k."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Oxford105k


class Paris106kDataModule(LandmarkDataModule):
    """Paris among Flickr100k."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Paris106k


class ROxford5kDataModule(LandmarkDataModule):
    """Revisited Oxford."""

    dataset_class: ClassVar[type[RetrievalDataset]] = ROxford5k


class RParis6kDataModule(LandmarkDataModule):
    """Revisited Paris."""

    dataset_class: ClassVar[type[RetrievalDataset]] = RParis6k
