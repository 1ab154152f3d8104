"""The sample table: what every data set becomes, and all that anything downstream reads."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SampleTable:
    """One row an image.

    Attributes:
        path: ``(n,)`` paths relative to the data set's folder, with forward slashes.
        label: ``(n,)`` int64 class of each image, an index into ``class_names``; -1 where an image has none.
        class_names: The names of the classes.
        is_train: ``(n,)`` whether the image may be trained on.
        is_query: ``(n,)`` whether it asks.
        is_gallery: ``(n,)`` whether it is searched.
        box: ``(n, 4)`` float32 x1, y1, x2, y2 in pixels of the original image, or None. Pixels count from 0 and the
            box ends before x2 and y2, so the whole image is ``0, 0, width, height``, or ``0, 0, inf, inf`` where nobody
            has opened it yet. Published boxes may reach a few pixels beyond the image.
        positives: For each query, in row order, its relevant rows; None where relevance is equality of labels.
        junk: For each query its ignored rows, besides itself.
    """

    path: tuple[str, ...]
    label: IntArray
    class_names: tuple[str, ...]
    is_train: BoolArray
    is_query: BoolArray
    is_gallery: BoolArray
    box: npt.NDArray[np.float32] | None = None
    positives: RaggedLists | None = None
    junk: RaggedLists | None = None

    def __post_init__(self) -> None:
        n = len(self.path)
        for name in ("label", "is_train", "is_query", "is_gallery"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, path has {n}")
        if self.box is not None and self.box.shape != (n, 4):
            raise ValueError(f"box must have shape ({n}, 4), got {self.box.shape}")
        if n and not -1 <= self.label.min() <= self.label.max() < len(self.class_names):
            raise ValueError(
                f"label must be -1 or an index into the {len(self.class_names)} class names, "
                f"got {self.label.min()} to {self.label.max()}"
            )
        queries = int(np.count_nonzero(self.is_query))
        for name, lists in (("positives", self.positives), ("junk", self.junk)):
            if lists is not None and len(lists) != queries:
                raise ValueError(f"{name} has {len(lists)} lists, there are {queries} queries")

    def __len__(self) -> int:
        return len(self.path)

    def rows(self, role: str) -> IntArray:
        """Row numbers of a role: ``train``, ``query`` or ``gallery``."""
        return np.flatnonzero(getattr(self, f"is_{role}")).astype(np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and classes of each role that has any."""
        of_role = {role: self.label[self.rows(role)] for role in ("train", "query", "gallery")}
        return {
            role: {"images": len(labels), "classes": len(np.unique(labels[labels >= 0]))}
            for role, labels in of_role.items()
            if len(labels)
        }

    def ground_truth(self, *, exclude_self: bool) -> GroundTruth:
        """Queries, gallery and relevance in the form that evaluation reads."""
        query, gallery = self.rows("query"), self.rows("gallery")
        if self.positives is None:
            return GroundTruth.from_labels(self.label, query, gallery, exclude_self=exclude_self)
        junk = [list(x) for x in self.junk] if self.junk is not None else [[] for _ in query]
        if exclude_self:
            junk = [[*ignored, int(q)] for ignored, q in zip(junk, query, strict=True)]
        return GroundTruth(query, gallery, self.positives, RaggedLists.from_lists(junk))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits over every cell of the table, in row order."""
        digest = hashlib.sha256()
        for part in self._cells():
            digest.update(part)
        return digest.hexdigest()[:12]

    def _cells(self) -> Iterator[bytes]:
        yield "\n".join(self.path).encode()
        yield self.label.astype("<i8").tobytes()
        yield np.stack([self.is_train, self.is_query, self.is_gallery]).tobytes()
        # A column that is absent leaves its name out, so that no two tables spell the same bytes.
        if self.box is not None:
            yield b"box" + self.box.astype("<f4").tobytes()
        for name, lists in ((b"positives", self.positives), (b"junk", self.junk)):
            if lists is not None:
                yield name + lists.offsets.astype("<i8").tobytes() + lists.values.astype("<i8").tobytes()
