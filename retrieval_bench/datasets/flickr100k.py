"""Flickr100k: 100,071 photos that show none of the landmarks, to be searched along with any of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DatasetNotFoundError
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol


class Flickr100k(RetrievalDataset):
    """Flickr100k in the layout of ``oxc1_100k.part*.rar``: a folder for each tag. Nobody asks; it only distracts."""

    name: ClassVar[str] = "flickr100k"
    protocols: ClassVar[tuple[Protocol, ...]] = (Protocol(dataset="flickr100k", name="distractors"),)
    marker: ClassVar[str] = "oxc1_100k/*/*.jpg"

    def missing_annotations(self) -> list[str]:
        """None: there are only pictures."""
        return []

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        path = list_pictures(self.root)
        nobody = np.zeros(len(path), np.bool_)
        return SampleTable(
            path=path,
            label=np.full(len(path), -1, np.int64),
            class_names=(),
            is_train=nobody,
            is_query=nobody,
            is_gallery=~nobody,
        )


def list_pictures(folder: Path) -> tuple[str, ...]:
    """All JPEGs in a folder and its sub-folders, relative to it, with forward slashes, in order.

    Args:
        folder: Where to look; with a folder ``oxc1_100k`` in it, only there.

    Raises:
        DatasetNotFoundError: If there are none.
    """
    top = folder / "oxc1_100k"
    found = tuple(sorted(_walk(top if top.is_dir() else folder, folder)))
    if not found:
        raise DatasetNotFoundError(
            f"there are no .jpg distractors in {folder.absolute()}. Unpack Flickr100k (oxc1_100k.part01.rar and on) "
            "there"
        )
    return found


def has_pictures(folder: Path) -> bool:
    """Whether ``list_pictures`` would find any, without listing them all.

    Args:
        folder: As there.
    """
    top = folder / "oxc1_100k"
    return next(_walk(top if top.is_dir() else folder, folder), None) is not None


def _walk(top: Path, folder: Path) -> Iterator[str]:
    # Python's own tests of file kinds would cost a call to the system for each of the 100,000.
    for place, _, files in os.walk(top):
        inside = Path(place).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (prefix + name for name in files if name.lower().endswith((".jpg", ".jpeg")))
