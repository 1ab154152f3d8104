"""Cars196: 16,185 pictures of 196 kinds of cars."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.annotations import UNPACK_AGAIN, lookup, read_keyed, read_mat, relative_path
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol

BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
LAST_TRAIN_CLASS = 98
POOLED = "cars_annos.mat"
TRAIN, TEST, NAMES = "devkit/cars_train_annos.mat", "devkit/cars_test_annos.mat", "devkit/cars_meta.mat"
TEST_WITH_CLASSES = ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")
# Where the .mat with classes cannot be had: text lists, a line "picture.jpg class" for each test picture.
TEST_CLASSES = ("cars_test_labels.txt", "devkit/cars_test_labels.txt", "mmalnet_test.txt")


class Cars196(RetrievalDataset):
    """Cars196 in one of its two layouts.

    Either ``cars_annos.mat`` beside ``car_ims/``, or ``devkit/`` beside ``cars_train/`` and ``cars_test/``. The class
    split pools both official halves. The devkit's own test file has no classes; they come from
    ``cars_test_annos_withlabels.mat`` or from a text list. Without any test file the training half stands alone, as
    a part of the data set.
    """

    name: ClassVar[str] = "cars196"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(
            dataset="cars196",
            name="zero-shot",
            metrics=tuple(f"recall_at_{k}" for k in (1, 2, 4, 8, 16, 32)),
            main_metric="recall_at_1",
        ),
    )
    marker: ClassVar[str] = TRAIN
    other_markers: ClassVar[tuple[str, ...]] = (POOLED,)
    annotations: ClassVar[tuple[str, ...]] = (TRAIN, TEST, NAMES)

    def missing_annotations(self) -> list[str]:
        """Annotation files of the whole data set that are not there."""
        if self._pooled:
            return []
        missing = super().missing_annotations()
        if self._first(TEST_WITH_CLASSES):
            return [name for name in missing if name != TEST]
        return missing if self._first(TEST_CLASSES) else [*missing, TEST_WITH_CLASSES[0]]

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        if self._pooled:
            mat = self.root / POOLED
            names, rows = _class_names(mat), _rows(mat, "relative_im_path", ("class",))
            path = [str(row[0]) for row in rows]
        else:
            names, rows = _class_names(self.root / NAMES), _rows(self.root / TRAIN, "fname", ("class",))
            path = [f"cars_train/{row[0]}" for row in rows]
            test = self._test_rows()
            path += [f"cars_test/{row[0]}" for row in test]
            rows += test
        class_id = np.array([row[1] for row in rows], np.int64)
        if len(class_id) and not 1 <= class_id.min() <= class_id.max() <= len(names):
            raise DataError(
                f"{self.root}: the annotations have classes {class_id.min()} to {class_id.max()}, but the names "
                f"are those of 1 to {len(names)}; {UNPACK_AGAIN}"
            )
        is_train = class_id <= LAST_TRAIN_CLASS
        return SampleTable(
            path=tuple(path),
            label=class_id - 1,
            class_names=names,
            is_train=is_train,
            is_query=~is_train,
            is_gallery=~is_train,
            box=_boxes([row[2:] for row in rows]),
        )

    def _test_rows(self) -> list[tuple[Any, ...]]:
        """Picture, class and box of the test half; empty where none of its files is there."""
        complete = self._first(TEST_WITH_CLASSES)
        if complete is not None:
            return _rows(complete, "fname", ("class",))
        if not (self.root / TEST).is_file():
            return []
        listed = self._first(TEST_CLASSES)
        if listed is None:
            raise DataError(
                f"{self.root / TEST} does not tell the classes of the test pictures, which the class split needs: put "
                f"{TEST_WITH_CLASSES[0]} into {self.root}, or a text file {TEST_CLASSES[0]} with a line "
                '"picture.jpg class" for each'
            )
        classes = read_keyed(listed, {"picture": relative_path, "class": int})
        rows = _rows(self.root / TEST, "fname", ())
        return [(row[0], *lookup(classes, row[0], listed, "picture"), *row[1:]) for row in rows]

    @property
    def _pooled(self) -> bool:
        return (self.root / POOLED).is_file() and not (self.root / TRAIN).is_file()

    def _first(self, names: tuple[str, ...]) -> Path | None:
        return next((self.root / name for name in names if (self.root / name).is_file()), None)


def _class_names(mat: Path) -> tuple[str, ...]:
    names = read_mat(mat).get("class_names")
    if names is None:
        raise DataError(f"{mat}: expected the variable class_names; {UNPACK_AGAIN}")
    return tuple(str(x) for x in np.atleast_1d(names))


def _rows(mat: Path, picture: str, numbers: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The picture's name, then the numbers, then the box of every annotation."""
    annotations = read_mat(mat).get("annotations")
    wanted = (picture, *numbers, *BOX)
    has = (annotations.dtype.names or ()) if isinstance(annotations, np.ndarray | np.void) else ()
    if not set(wanted) <= set(has):
        raise DataError(f"{mat}: expected annotations with {', '.join(wanted)}, found {', '.join(has) or 'none'}")
    rows = []
    for i, row in enumerate(np.atleast_1d(np.asarray(annotations))):
        try:
            rows.append((relative_path(str(row[picture])), *(int(row[name]) for name in wanted[1:])))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{mat}, annotation {i + 1}: expected a name and whole numbers, found {row}; {UNPACK_AGAIN}"
            ) from error
    return rows


def _boxes(corners: list[tuple[int, ...]]) -> npt.NDArray[np.float32]:
    """Boxes as the table has them: the files count pixels from 1 and name the last one inside."""
    box = np.array(corners, np.float32).reshape(-1, 4)
    box[:, :2] -= 1
    return box
