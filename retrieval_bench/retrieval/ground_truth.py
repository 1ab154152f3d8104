"""What counts as relevant: for each query its positives and its junk, as compact lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RaggedLists:
    """Lists of image indices of different lengths, end to end in one array.

    Attributes:
        values: ``(sum of lengths,)`` the lists one after the other.
        offsets: ``(lists + 1,)`` list ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: IntArray
    offsets: IntArray

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int] | IntArray]) -> "RaggedLists":
        """Pack a sequence of lists."""
        lengths = np.fromiter((len(x) for x in lists), np.int64, len(lists))
        values = np.concatenate([np.asarray(x, np.int64) for x in lists]) if lists else np.empty(0, np.int64)
        return cls(values.astype(np.int64), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> IntArray:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[IntArray]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> IntArray:
        """``(lists,)`` the length of each list."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class GroundTruth:
    """Who asks, who is searched, and who should be found.

    Junk is neither right nor wrong: it is taken out of a query's ranking before anything is counted. A query whose own
    image must not be found has itself as junk.

    Attributes:
        query: ``(q,)`` image indices of the queries.
        gallery: ``(g,)`` image indices that are searched, each once, in gallery order.
        positives: for each query the relevant images, all of them in the gallery.
        junk: for each query the images to be ignored.
    """

    query: IntArray
    gallery: IntArray
    positives: RaggedLists
    junk: RaggedLists

    @classmethod
    def from_labels(
        cls, label: npt.ArrayLike, query: npt.ArrayLike, gallery: npt.ArrayLike, *, exclude_self: bool
    ) -> "GroundTruth":
        """Relevance by equality of labels.

        Args:
            label: ``(n,)`` the label of every image.
            query: ``(q,)`` image indices of the queries.
            gallery: ``(g,)`` image indices of the gallery.
            exclude_self: Whether a query's own image is ignored, by index.
        """
        label, query, gallery = (np.asarray(x, np.int64) for x in (label, query, gallery))
        order = gallery[np.argsort(label[gallery], kind="stable")]
        start = np.searchsorted(label[order], label[query], "left")
        stop = np.searchsorted(label[order], label[query], "right")
        mates = (order[a:b] for a, b in zip(start, stop, strict=True))
        if not exclude_self:
            none = RaggedLists(np.empty(0, np.int64), np.zeros(len(query) + 1, np.int64))
            return cls(query, gallery, RaggedLists.from_lists(list(mates)), none)
        positives = [m[m != q] for m, q in zip(mates, query, strict=True)]
        itself = RaggedLists(query.copy(), np.arange(len(query) + 1, dtype=np.int64))
        return cls(query, gallery, RaggedLists.from_lists(positives), itself)
