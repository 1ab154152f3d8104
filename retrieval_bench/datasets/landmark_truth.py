"""The ground truth of landmark data sets: as text files for each query, or as one pickle; both say the same."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_bench.datasets.annotations import UNPACK_AGAIN, read_rows
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.plain_pickle import read_plain_pickle

Box = tuple[float, float, float, float]
QUERIES_PER_LANDMARK = 5
QUERY_PREFIX = "oxc1_"  # before the names of Oxford's query pictures, in the text files alone
_KINDS = ("good", "ok", "junk")


@dataclass(frozen=True)
class LandmarkQuery:
    """One query.

    Attributes:
        image: The name of its picture, without ``.jpg``.
        box: x1, y1, x2, y2 in pixels.
        landmark: What it shows.
        lists: Names of database pictures by kind: ``good``, ``ok``, ``junk``, or ``easy``, ``hard``, ``junk``.
    """

    image: str
    box: Box
    landmark: str
    lists: dict[str, frozenset[str]]

    def names(self, kinds: Iterable[str]) -> frozenset[str]:
        """The pictures of some kinds together."""
        return frozenset().union(*(self.lists.get(kind, frozenset()) for kind in kinds))


@dataclass(frozen=True)
class LandmarkTruth:
    """All queries, and the database where the ground truth lists it (text files do not).

    Attributes:
        queries: In their published order.
        images: Names of the database pictures, or None.
    """

    queries: tuple[LandmarkQuery, ...]
    images: tuple[str, ...] | None


def read_texts(folder: Path) -> LandmarkTruth:
    """Read ``<landmark>_<n>_query.txt`` and its ``good``, ``ok`` and ``junk`` beside it.

    Args:
        folder: Where they lie.

    Raises:
        DataError: If a file is missing or not as expected.
    """
    queries = []
    for file in sorted(folder.glob("*_query.txt"), key=lambda f: _numbered(f.name)):
        name = file.name.removesuffix("_query.txt")
        rows = read_rows(file, {"picture": _name, "x1": float, "y1": float, "x2": float, "y2": float})
        if len(rows) != 1:
            raise DataError(f"{file}: expected one line, found {len(rows)}; {UNPACK_AGAIN}")
        ((image, *box),) = rows
        lists = {
            kind: frozenset(row[0] for row in read_rows(folder / f"{name}_{kind}.txt", {"picture": _name}))
            for kind in _KINDS
        }
        x1, y1, x2, y2 = box
        landmark = re.sub(r"_\d+$", "", name)
        queries.append(LandmarkQuery(image.removeprefix(QUERY_PREFIX), (x1, y1, x2, y2), landmark, lists))
    return LandmarkTruth(tuple(queries), None)


def read_pickle(file: Path, landmarks: Sequence[str]) -> LandmarkTruth:
    """Read a ``gnd_*.pkl``: ``imlist``, ``qimlist``, and for each query ``gnd`` with its box and lists of numbers.

    The pickle does not name what a query shows. Queries come five for each landmark in the order of ``landmarks``;
    the revisited ground truths add more at the end, each of the landmark whose positives it shares most.

    Args:
        file: The pickle.
        landmarks: The landmarks of the whole data set.

    Raises:
        DataError: If the file cannot be read, or holds something else.
    """
    content = read_plain_pickle(file)
    images, queried, truths = (_entry(file, content, key, list) for key in ("imlist", "qimlist", "gnd"))
    for key, names in (("imlist", images), ("qimlist", queried)):
        if not all(isinstance(x, str) and _is_name(x) for x in names):
            raise DataError(f"{file}: {key} should hold names of pictures; {UNPACK_AGAIN}")
    if not len(queried) == len(truths) or len(set(images)) != len(images):
        raise DataError(f"{file}: {len(queried)} query pictures, {len(truths)} queries; {UNPACK_AGAIN}")
    queries: list[LandmarkQuery] = []
    for i, (image, truth) in enumerate(zip(queried, truths, strict=True)):
        kinds = [kind for kind in ("good", "ok", "easy", "hard", "junk") if isinstance(truth, dict) and kind in truth]
        lists = {kind: _pictures(file, truth, kind, images) for kind in kinds}
        x1, y1, x2, y2 = _box(file, truth)
        landmark = _landmark(i, lists, queries, landmarks)
        queries.append(LandmarkQuery(image, (x1, y1, x2, y2), landmark, lists))
    return LandmarkTruth(tuple(queries), tuple(images))


def _landmark(i: int, lists: dict[str, frozenset[str]], before: list[LandmarkQuery], landmarks: Sequence[str]) -> str:
    if i < QUERIES_PER_LANDMARK * len(landmarks):
        return landmarks[i // QUERIES_PER_LANDMARK]
    positives = frozenset().union(*(names for kind, names in lists.items() if kind != "junk"))
    known = before[: QUERIES_PER_LANDMARK * len(landmarks)]
    return max(known, key=lambda q: len(positives & q.names(("good", "ok", "easy", "hard")))).landmark


def _entry(file: Path, content: Any, key: str, kind: type) -> Any:
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, kind):
        raise DataError(f"{file}: there is no {kind.__name__} {key!r} in it; {UNPACK_AGAIN}")
    return value


def _pictures(file: Path, truth: dict[str, Any], kind: str, images: list[str]) -> frozenset[str]:
    numbers = _entry(file, truth, kind, list)
    if not all(type(x) is int and 0 <= x < len(images) for x in numbers):
        raise DataError(f"{file}: {kind} should hold numbers from 0 to {len(images) - 1}; {UNPACK_AGAIN}")
    return frozenset(images[x] for x in numbers)


def _box(file: Path, truth: Any) -> list[float]:
    box = truth.get("bbx") if isinstance(truth, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(type(x) in (int, float) for x in box):
        raise DataError(f"{file}: a query's bbx should be four numbers, it is {box!r}; {UNPACK_AGAIN}")
    return [float(x) for x in box]


def _numbered(name: str) -> tuple[str, int]:
    landmark, number = re.fullmatch(r"(.*?)_?(\d*)_query\.txt", name).groups()  # type: ignore[union-attr]  # globbed
    return landmark, int(number or 0)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", text) is not None


def _name(text: str) -> str:
    if not _is_name(text):
        raise ValueError(text)
    return text
