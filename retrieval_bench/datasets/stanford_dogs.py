"""Stanford Dogs: 20,580 pictures of 120 breeds, all of them from ImageNet."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.annotations import UNPACK_AGAIN, read_mat, relative_path
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.protocol import Protocol, hashing_protocol

TRAIN, TEST = "train_list.mat", "test_list.mat"
VARIABLES = ("file_list", "annotation_list", "labels")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class StanfordDogs(RetrievalDataset):
    """Stanford Dogs in the layout of its three archives: the lists beside ``Images/`` and ``Annotation/``.

    A picture may show several dogs; its box is the one around all of them. Without ``Annotation/`` there are no boxes.
    """

    name: ClassVar[str] = "stanford_dogs"
    protocols: ClassVar[tuple[Protocol, ...]] = (hashing_protocol("stanford_dogs"),)
    marker: ClassVar[str] = TRAIN
    annotations: ClassVar[tuple[str, ...]] = (TRAIN, TEST)

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        train = _read_list(self.root / TRAIN)
        rows = train + _read_list(self.root / TEST)
        files, classes = [row.file for row in rows], [row.class_id for row in rows]
        twice = [file for file, times in Counter(files).items() if times > 1]
        if twice:
            raise DataError(f"{self.root}: the lists name {twice[0]} twice; {UNPACK_AGAIN}")
        names, label = self._number_classes(files, classes)
        is_train = np.arange(len(rows)) < len(train)
        return SampleTable(
            path=tuple(f"Images/{file}" for file in files),
            label=label,
            class_names=names,
            is_train=is_train,
            is_query=~is_train,
            is_gallery=is_train,
            box=self._read_boxes([row.annotation for row in rows]),
        )

    def _number_classes(self, files: Sequence[str], classes: Sequence[int]) -> tuple[tuple[str, ...], IntArray]:
        """The folder of each class, and of each picture the place of its class among them."""
        folders = {(class_id, file.rpartition("/")[0]) for class_id, file in zip(classes, files, strict=True)}
        if not len(folders) == len({a for a, _ in folders}) == len({b for _, b in folders}):
            raise DataError(
                f"{self.root}: the labels in {TRAIN} and {TEST} do not agree with the folders of the pictures, "
                f"which should be one for each class; {UNPACK_AGAIN}"
            )
        label = np.unique(np.array(classes, np.int64), return_inverse=True)[1]
        return tuple(folder for _, folder in sorted(folders)), label.astype(np.int64)

    def _read_boxes(self, annotations: Sequence[str]) -> npt.NDArray[np.float32] | None:
        folder = self.root / "Annotation"
        if not folder.is_dir():
            return None
        return np.array([read_box(folder / name) for name in annotations], np.float32).reshape(-1, 4)


def read_box(file: Path) -> tuple[float, float, float, float]:
    """The box x1, y1, x2, y2 around all dogs of a picture.

    Args:
        file: Its annotation, in the XML of ImageNet. Pixels count from 0, and the last corner reaches up to the
            picture's width and height, so the numbers are the table's already.

    Raises:
        DataError: If the file is missing, cannot be read, or has no box.
    """
    try:
        found = ElementTree.parse(file).findall("object/bndbox")
        dogs = [tuple(float(box.findtext(corner, "")) for corner in CORNERS) for box in found]
    except FileNotFoundError:
        raise DataError(f"there is no {file}, though the folder Annotation is there; {UNPACK_AGAIN}") from None
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise DataError(f"{file}: expected XML with the boxes of objects ({error}); {UNPACK_AGAIN}") from error
    if not dogs:
        raise DataError(f"{file}: expected the box of at least one object, found none; {UNPACK_AGAIN}")
    left, top, right, bottom = zip(*dogs, strict=True)
    return min(left), min(top), max(right), max(bottom)


class _Row(NamedTuple):
    """A row of a list: a picture inside ``Images/``, its annotation inside ``Annotation/``, its class from 1."""

    file: str
    annotation: str
    class_id: int


def _read_list(mat: Path) -> list[_Row]:
    content = read_mat(mat)
    missing = [name for name in VARIABLES if name not in content]
    if missing:
        raise DataError(f"{mat}: expected the variables {', '.join(VARIABLES)}, found no {', '.join(missing)}")
    columns = [np.atleast_1d(content[name]).tolist() for name in VARIABLES]
    if len({len(column) for column in columns}) > 1:
        raise DataError(f"{mat}: its variables have {', '.join(str(len(x)) for x in columns)} rows; {UNPACK_AGAIN}")
    try:
        rows = zip(*columns, strict=True)
        return [_Row(relative_path(str(file)), relative_path(str(note)), int(label)) for file, note, label in rows]
    except (TypeError, ValueError) as error:
        raise DataError(f"{mat}: expected names of files and whole numbers ({error}); {UNPACK_AGAIN}") from error
