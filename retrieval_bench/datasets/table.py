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
        box: ``(n, 4)`` float32 x1, y1, x2, y2 in pixels of the original image, or None.
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

    def __len__(self) -> int:
        return len(self.path)

    def rows(self, role: str) -> IntArray:
        """Row numbers of a role: ``train``, ``query`` or ``gallery``."""
        return np.flatnonzero(getattr(self, f"is_{role}")).astype(np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and classes of each role that has any."""
        roles = (role for role in ("train", "query", "gallery") if len(self.rows(role)))
        return {
            role: {
                "images": len(self.rows(role)),
                "classes": len({int(x) for x in self.label[self.rows(role)]} - {-1}),
            }
            for role in roles
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
        yield b"" if self.box is None else self.box.astype("<f4").tobytes()
        for lists in (self.positives, self.junk):
            if lists is not None:
                yield lists.values.astype("<i8").tobytes() + lists.offsets.astype("<i8").tobytes()
