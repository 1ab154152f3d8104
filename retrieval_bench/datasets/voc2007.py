"""PASCAL VOC 2007: 5,011 photos with the boxes of all objects of 20 classes, on which region proposals are learned."""

import re
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.annotations import UNPACK_AGAIN, read_keyed
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol

Boxes = npt.NDArray[np.float32]

LIST = "ImageSets/Main/trainval.txt"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Voc2007(RetrievalDataset):
    """VOC 2007's trainval in the layout of its archive, as torchvision's VOCDetection reads it.

    Nobody asks or is searched. A picture shows several objects, so it has no class and no box of its own.
    """

    name: ClassVar[str] = "voc2007"
    protocols: ClassVar[tuple[Protocol, ...]] = (Protocol(dataset="voc2007", name="trainval"),)
    marker: ClassVar[str] = LIST
    folder: ClassVar[str] = "VOCdevkit/VOC2007"

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        stems = list(read_keyed(self.root / LIST, {"picture": _stem}))
        everyone = np.ones(len(stems), np.bool_)
        return SampleTable(
            path=tuple(f"JPEGImages/{stem}.jpg" for stem in stems),
            label=np.full(len(stems), -1, np.int64),
            class_names=(),
            is_train=everyone,
            is_query=~everyone,
            is_gallery=~everyone,
        )

    def objects(self, row: int) -> Boxes:
        """The boxes of a picture's objects, but those marked as difficult, which Faster R-CNN leaves out as well.

        Args:
            row: Which picture.

        Returns:
            ``(n, 4)`` float32 as the boxes of a ``SampleTable``; n may be 0.

        Raises:
            DataError: If its annotation is missing or broken.
        """
        return read_objects(self.root / "Annotations" / f"{Path(self.table.path[row]).stem}.xml")


def read_objects(file: Path) -> Boxes:
    """The boxes of an annotation's objects that are not difficult.

    Args:
        file: XML; pixels count from 1 and the last corner belongs to the box, which is converted.

    Returns:
        ``(n, 4)`` float32 x1, y1, x2, y2: pixels count from 0 and the box ends before x2 and y2.

    Raises:
        DataError: If the file is missing, is no such XML or declares a document type.
    """
    try:
        found = [box for box in map(_box, _parse(file).iterfind("object")) if box]
    except FileNotFoundError:
        raise DataError(f"there is no {file}, which the list of pictures promises; {UNPACK_AGAIN}") from None
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise DataError(f"{file}: expected XML with the boxes of objects ({error}); {UNPACK_AGAIN}") from error
    return np.array(found, np.float32).reshape(-1, 4)


def _parse(file: Path) -> ElementTree.Element:
    text = file.read_text(encoding="utf-8")
    if "<!DOCTYPE" in text:  # only there entities could be declared, which grow without bounds or name files
        raise ValueError("it declares a document type")
    return ElementTree.fromstring(text)


def _box(thing: ElementTree.Element) -> tuple[float, float, float, float] | None:
    """An object's box; None if it is difficult."""
    left, top, right, bottom = (float(thing.findtext(f"bndbox/{corner}", "")) for corner in _CORNERS)
    if not (1 <= left <= right < np.inf and 1 <= top <= bottom < np.inf):
        raise ValueError(f"there is no box {left:g}, {top:g}, {right:g}, {bottom:g}")
    return None if thing.findtext("difficult", "0").strip() == "1" else (left - 1, top - 1, right, bottom)


def _stem(text: str) -> str:
    if not re.fullmatch(r"\w+", text):
        raise ValueError(text)
    return text
