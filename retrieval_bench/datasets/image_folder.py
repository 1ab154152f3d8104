"""Labelled folders in the layout of torchvision's ImageFolder, with ILSVRC2012 above all."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.protocol import Protocol

MOST_HELD_OUT = 10_000
HELD_OUT_SHARE = 0.1  # of the training pictures, where there is no folder of others
_DRAWN_BY = 2018  # the seed of the held-out part: the same for all runs and seeds
_ENDINGS = (".jpeg", ".jpg", ".png")

Files = list[tuple[str, str]]
"""Class and path of pictures, in order."""


class ImageNet(RetrievalDataset):
    """ILSVRC2012, or any pictures in its layout: ``train/<class>/<picture>`` and ``val/<class>/<picture>``.

    A held-out part, which is never trained on, asks and is searched, so that classifiers can be judged: 10,000 pictures
    of ``val``, or all if there are fewer; where there is no ``val``, a tenth of ``train``, 10,000 at most. It is drawn
    once, whatever the seed of a run. Classes count in the order of their names, as torchvision has them.
    """

    name: ClassVar[str] = "imagenet"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(
            dataset="imagenet", name="held-out", metrics=("recall_at_1", "recall_at_10"), main_metric="recall_at_1"
        ),
    )
    marker: ClassVar[str] = "train/*/*.JPEG"
    other_markers: ClassVar[tuple[str, ...]] = ("train/*/*.jpg", "train/*/*.jpeg", "train/*/*.png")

    def missing_annotations(self) -> list[str]:
        """None: the folders are the annotation."""
        return []

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        train = list_pictures(self.root, "train")
        others = list_pictures(self.root, "val") if (self.root / "val").is_dir() else []
        names = sorted({name for name, _ in train})
        place = {name: i for i, name in enumerate(names)}
        if unknown := sorted({name for name, _ in others} - place.keys()):
            raise DataError(
                f"{self.root}: the folder val/{unknown[0]} is of a class that train has not; {len(unknown)} such "
                "classes in all. Both need one folder for each class"
            )
        files = train + others
        held_out = np.zeros(len(files), np.bool_)
        held_out[_drawn(len(train), len(others))] = True
        is_train = np.arange(len(files)) < len(train)
        return SampleTable(
            path=tuple(path for _, path in files),
            label=np.array([place[name] for name, _ in files], np.int64),
            class_names=tuple(names),
            is_train=is_train & ~held_out,
            is_query=held_out,
            is_gallery=held_out,
        )


def _drawn(train: int, others: int) -> IntArray:
    """Rows of the held-out part, where the others follow what is trained on."""
    rng = np.random.default_rng(_DRAWN_BY)
    if others:
        return train + rng.choice(others, min(others, MOST_HELD_OUT), replace=False)
    return rng.choice(train, min(int(np.ceil(train * HELD_OUT_SHARE)), MOST_HELD_OUT), replace=False)


def list_pictures(root: Path, part: str) -> Files:
    """The pictures of a part, in the order of their classes and names.

    Args:
        root: The data set's folder.
        part: ``train`` or ``val``.

    Raises:
        DataError: If a picture lies outside of the folders of classes, or there is none.
    """
    files: Files = []
    for folder in sorted((root / part).iterdir(), key=lambda entry: entry.name):
        if folder.suffix.lower() in _ENDINGS:
            raise DataError(
                f"{folder} is in no class: every picture of {part} belongs in a folder of its class, {part}/<class>/, "
                "with the same names of classes as in train"
            )
        if folder.is_dir():
            names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in _ENDINGS)
            files += [(folder.name, f"{part}/{folder.name}/{name}") for name in names]
    if not files:
        raise DataError(f"{root / part} holds no folder of pictures ({', '.join(_ENDINGS)})")
    return files
