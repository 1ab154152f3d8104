"""The base of every data set: a folder read into one sample table under one protocol."""

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from retrieval_bench.datasets.cards import Card, load_card
from retrieval_bench.datasets.errors import DatasetNotFoundError
from retrieval_bench.datasets.miniature import MARKER
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.protocol import Protocol


def default_root(name: str) -> Path:
    """The folder of a data set where none is given: its key inside ``data``, or inside RETRIEVAL_BENCH_DATA."""
    return Path(os.environ.get("RETRIEVAL_BENCH_DATA") or "data") / name


class RetrievalDataset(ABC):
    """A data set in its original folder layout.

    Only annotation files are read here; pictures are read one by one, by their row.

    Attributes:
        name: The key of the data set, of its card and of its configs.
        protocols: The ways to measure on it; the first is the default.
        marker: The annotation file whose presence says where the data set starts.
        other_markers: Annotation files that say so too, where a data set has come in several layouts. Either may be
            a pattern.
        folder: The top folder of the original archive; a root that holds it and one that is it are both accepted.
        annotations: The annotation files of the whole data set.
    """

    name: ClassVar[str]
    protocols: ClassVar[tuple[Protocol, ...]]
    marker: ClassVar[str]
    other_markers: ClassVar[tuple[str, ...]] = ()
    folder: ClassVar[str] = "."
    annotations: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: str | Path, protocol: str | None = None) -> None:
        """Find the data set.

        Args:
            root: The folder it was unpacked in, or the folder of all data sets that holds it under its key.
            protocol: The name of one of its protocols.

        Raises:
            DatasetNotFoundError: If the annotation file is in none of these places.
            ValueError: If it has no such protocol.
        """
        named = {p.name: p for p in self.protocols}
        if protocol is not None and protocol not in named:
            raise ValueError(f"{self.name} has no protocol {protocol!r}; it has {', '.join(named)}")
        self._declared = named[protocol] if protocol else self.protocols[0]
        self._given = Path(root)
        self.root = self._locate(Path(root))

    def _locate(self, root: Path) -> Path:
        markers = (self.marker, *self.other_markers)
        for place in (root, root / self.folder, root / self.name, root / self.name / self.folder):
            if self._is_here(place):
                return place
        raise DatasetNotFoundError(
            f"{self.card.title} is not in {root.absolute()}: there is no {' or '.join(markers)} in it"
            + (f" nor in its folder {self.folder}" if self.folder != "." else "")
            + f". {self.card.how_to_get()}"
        )

    def _is_here(self, place: Path) -> bool:
        return any(file.is_file() for marker in (self.marker, *self.other_markers) for file in place.glob(marker))

    def missing_annotations(self) -> list[str]:
        """Annotation files of the whole data set that are not there."""
        return [name for name in self.annotations or (self.marker,) if not (self.root / name).is_file()]

    def missing_parts(self) -> list[str]:
        """Keys of other data sets that belong to this one and are not there."""
        return []

    @property
    def card(self) -> Card:
        """The committed facts about the data set."""
        return load_card(self.name)

    @cached_property
    def table(self) -> SampleTable:
        """The sample table under the chosen protocol."""
        return self._read(self._declared.name)

    @abstractmethod
    def _read(self, protocol: str) -> SampleTable:
        """Read the annotation files."""

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol, its edition telling the whole published data set from a part of it and from a miniature."""
        if self.is_miniature:
            return replace(self._declared, edition=f"miniature-{self.table.fingerprint}")
        whole = self.table.counts() == self.card.counts.get(self._declared.name)
        edition = self._declared.edition if whole else f"partial-{self.table.fingerprint}"
        return replace(self._declared, edition=edition)

    @property
    def is_miniature(self) -> bool:
        """Whether it was drawn by ``data synthesize``."""
        return any((place / MARKER).is_file() for place in (self._given, self.root, self.root.parent))

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """Who asks, who is searched and who should be found."""
        return self.table.ground_truth(exclude_self=self._declared.self_match == "exclude")

    def image_path(self, row: int) -> Path:
        """Where the picture of a row lies."""
        return self.root / self.table.path[row]

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes get the table, not the caches over it."""
        return {k: v for k, v in self.__dict__.items() if k not in {"ground_truth"}}
