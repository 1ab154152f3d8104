"""Batches of Oxford5k, Paris6k, their revisited ground truths, and the same among distractors."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from torch.utils.data import DataLoader

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.images import Batch, DecodedPictures
from retrieval_bench.datasets.base import RetrievalDataset, default_root
from retrieval_bench.datasets.errors import DatasetNotFoundError
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.datasets.oxford_paris import LandmarkDataset, Oxford5k, Oxford105k, Paris6k, Paris106k
from retrieval_bench.datasets.revisited import ROxford5k, RParis6k


class LandmarkDataModule(RetrievalDataModule):
    """Landmarks; see ``LandmarkDataset`` for layouts and protocols.

    There is nothing to train on. Statistics are learned from the database of the other city, as is the custom.
    """

    def __init__(
        self,
        distractors: str | Path | None = None,
        reference_root: str | Path | None = None,
        **options: Any,
    ) -> None:
        """Choose data and batches; nothing is read yet.

        Args:
            distractors: A folder of pictures that are searched along with the database; by default none, or for
                Oxford105k and Paris106k ``flickr100k`` in the data set's folder or beside it.
            reference_root: The folder of the other city; by default beside the data set's own.
            **options: As for every data module.
        """
        super().__init__(**options)
        self._distractors, self._reference_root = distractors, reference_root

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set, read on first use."""
        kind = cast("type[LandmarkDataset]", self.dataset_class)
        root = default_root(kind.name) if self._root is None else self._root
        return kind(root, self._protocol, distractors=self._distractors)

    @cached_property
    def reference(self) -> RetrievalDataset:
        """The other city; a miniature's other city is drawn where it is missing.

        Raises:
            DatasetNotFoundError: If it is not at hand.
        """
        city: type[LandmarkDataset] = Paris6k if issubclass(self.dataset_class, (Oxford5k, ROxford5k)) else Oxford5k
        if self._reference_root is not None:
            return city(self._reference_root, "full")
        given = Path(default_root(self.dataset_class.name) if self._root is None else self._root)
        home = given.parent / city.name
        if self.dataset.is_miniature:
            synthesize(city.name, home)
        try:
            return city(home, "full")
        except DatasetNotFoundError as error:
            raise DatasetNotFoundError(
                f"{error} Statistics for {self.dataset.name} are learned from it; if it lies elsewhere, say "
                "--data.reference_root"
            ) from error

    @property
    def reference_name(self) -> str:
        """The other city and the number of its pictures."""
        return f"the {len(self.reference.table.rows('gallery')):,} pictures of {self.reference.name}"

    def reference_dataloader(self) -> DataLoader[Batch]:
        """The whole pictures of the other city's database."""
        table = self.reference.table
        source = DecodedPictures(self.reference, self._recipe())
        return self._evaluation_loader(source, table.label, table.rows("gallery"))


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
