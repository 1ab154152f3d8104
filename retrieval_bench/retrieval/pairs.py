"""Ground truth as pairs of places: which rows and columns of the score matrix are positive, which are junk."""

import numpy as np
import torch

from retrieval_bench.retrieval.counting import Pairs
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists


class TruthPairs:
    """The (query, image) pairs of a ground truth, for any range of its queries.

    Args:
        truth: Who asks, who is searched, and who should be found.

    Raises:
        ValueError: If the lists are not one a query, or an image is listed in the gallery twice.
    """

    def __init__(self, truth: GroundTruth) -> None:
        for lists in (truth.positives, truth.junk):
            if len(lists) != len(truth.query):
                raise ValueError(f"the ground truth has {len(truth.query)} queries but {len(lists)} lists of images")
        self._truth = truth
        self._by_id = np.argsort(truth.gallery, kind="stable")
        self._ids = truth.gallery[self._by_id]
        if len(self._ids) > 1 and (self._ids[1:] == self._ids[:-1]).any():
            raise ValueError("an image is listed in the gallery twice")
        self._consecutive = len(self._ids) > 0 and int(self._ids[-1] - self._ids[0]) == len(self._ids) - 1

    def of(self, queries: slice | None = None) -> tuple[Pairs, Pairs]:
        """The positives and the junk of a range of queries, of all by default, in order of row, then column.

        Rows count from the first query of the range. A positive that is also junk is junk; junk outside the gallery
        needs no ignoring.

        Raises:
            ValueError: If a positive is not in the gallery.
        """
        positives, missing = self._pairs(self._truth.positives, queries)
        if len(missing):
            raise ValueError(f"{len(missing)} positive images are not in the gallery, the first is {missing[0]}")
        junk = self.junk(queries)
        return positives.without(junk, len(self._ids)) if len(junk) else positives, junk

    def junk(self, queries: slice | None = None) -> Pairs:
        """The junk of a range of queries, as ``of`` gives it."""
        return self._pairs(self._truth.junk, queries)[0]

    def _pairs(self, lists: RaggedLists, queries: slice | None) -> tuple[Pairs, IntArray]:
        """The pairs in order of row and column, each once, and the images that are not in the gallery."""
        first, stop = (0, len(lists)) if queries is None else (queries.start, queries.stop)
        offsets = lists.offsets[first : stop + 1]
        values = lists.values[offsets[0] : offsets[-1]]
        row = np.repeat(np.arange(stop - first), np.diff(offsets))
        at = values - self._ids[0] if self._consecutive else np.searchsorted(self._ids, values)
        found = np.zeros(len(at), bool)
        inside = (at >= 0) & (at < len(self._ids))
        found[inside] = self._ids[at[inside]] == values[inside]
        width = max(1, len(self._ids))
        key = row[found] * width + self._by_id[at[found]]
        if (key[1:] <= key[:-1]).any():
            key = np.unique(key)
        return Pairs(*(torch.from_numpy(x) for x in np.divmod(key, width))), values[~found]
