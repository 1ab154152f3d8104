"""At which ranks a query's relevant images come: all that metrics need of a ranking."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from retrieval_bench.retrieval.counting import Levels, Pairs, count_above, tiles
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.retrieval.hamming import CodeBlock, DistanceCounts, code_blocks
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.similarity import Comparison

TieOrder = Literal["index", "optimistic", "pessimistic"]
_MOST_SCORES = 2**23  # that are held at once


@dataclass(frozen=True)
class RelevantRanks:
    """Where each query's positives stand in its ranking of the whole gallery, junk removed.

    Attributes:
        ranks: For each query the 0-based ranks of its positives, ascending; equal scores stand in gallery order.
        positives: ``(q,)`` how many positives each query has; those a ranking does not reach have no rank.
        above: ``(positives,)`` in the order of ``ranks.values``: how many images score strictly higher.
        tied: ``(positives,)`` how many images have the same score, the positive itself included.
        tied_relevant: ``(positives,)`` how many of those are positives.
        ranked: ``(q,)`` the length of each query's ranking.
    """

    ranks: RaggedLists
    positives: IntArray
    above: IntArray
    tied: IntArray
    tied_relevant: IntArray
    ranked: IntArray

    @classmethod
    def join(cls, parts: Sequence["RelevantRanks"]) -> "RelevantRanks":
        """The ranks of several ranges of queries, one range after the other; there must be one at least."""
        lengths = np.concatenate([part.ranks.lengths for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = np.concatenate([part.ranks.values for part in parts])
        fields = ("positives", "above", "tied", "tied_relevant", "ranked")
        joined = (np.concatenate([getattr(part, field) for part in parts]) for field in fields)
        return cls(RaggedLists(values, offsets), *joined)

    @property
    def query(self) -> IntArray:
        """``(positives,)`` the query, by its place, of each entry of ``ranks.values``."""
        return np.repeat(np.arange(len(self.ranks)), self.ranks.lengths)

    @property
    def order(self) -> IntArray:
        """``(positives,)`` how many positives of the same query stand before each."""
        order: IntArray = np.arange(len(self.ranks.values)) - self.ranks.offsets[self.query]
        return order

    def with_ties(self, order: TieOrder) -> "RelevantRanks":
        """The same ranking with positives first or last inside each group of equal scores."""
        if order == "index":
            return self
        relevant_above = self._relevant_above()
        shift = np.zeros_like(self.tied) if order == "optimistic" else self.tied - self.tied_relevant
        ranks = self.above + shift + self.order - relevant_above
        return replace(self, ranks=RaggedLists(ranks, self.ranks.offsets))

    def _relevant_above(self) -> IntArray:
        """``(positives,)`` how many positives of the same query score strictly higher."""
        fresh = np.ones(len(self.above), bool)
        fresh[1:] = (self.above[1:] != self.above[:-1]) | (self.query[1:] != self.query[:-1])
        relevant_above: IntArray = self.order[fresh][np.cumsum(fresh) - 1]
        return relevant_above

    def tie_groups(self) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
        """The groups of equal scores that hold a positive.

        Returns:
            Of each group: its query, the images above, the positives above, its images, its positives.
        """
        relevant_above = self._relevant_above()
        first = self.order == relevant_above
        return self.query[first], self.above[first], relevant_above[first], self.tied[first], self.tied_relevant[first]


def rank_relevant(
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> RelevantRanks:
    """Find the ranks of all positives of all queries, exactly, in memory of the order of ``block`` squared.

    The result is defined by float64 scores and gallery order (see ``similarity``); neither ``block`` nor the device
    changes it. An image with several descriptors counts with its best one.

    Args:
        query: Descriptors of at least the queries of ``truth``.
        gallery: Descriptors of at least its gallery.
        truth: Who asks, who is searched, and who should be found.
        block: Descriptors of either side that are compared at once.
        device: Where to compare; by default where the gallery's descriptors are.

    Raises:
        ValueError: If the sides cannot be compared, or a descriptor is not finite.
        KeyError: If an image has no descriptor.
    """
    if gallery.metric == "hamming" and len(truth.query):
        blocks = code_blocks(query, gallery, truth, block=block, device=device)
        return RelevantRanks.join([rank_codes(codes, codes.counts()) for _, codes in blocks])
    if gallery.metric == "adc" and len(truth.query):
        return rank_by_sorting(query, gallery, truth, block, device)
    return rank_by_levels(query, gallery, truth, block, device)


def rank_codes(codes: CodeBlock, counts: DistanceCounts) -> RelevantRanks:
    """The ranks of the positives of a block of queries, from its histograms and a counting sort of its distances."""
    placed = codes.placed()
    at = (placed.query, placed.distance)
    offsets = np.concatenate([[0], np.cumsum(counts.positives)]).astype(np.int64)
    return RelevantRanks(
        ranks=RaggedLists(placed.rank, offsets),
        positives=counts.positives,
        above=(np.cumsum(counts.total, 1) - counts.total)[at],
        tied=counts.total[at],
        tied_relevant=counts.relevant[at],
        ranked=counts.total.sum(1),
    )


def rank_by_sorting(
    query: Descriptors, gallery: Descriptors, truth: GroundTruth, block: int, device: torch.device | str | None
) -> RelevantRanks:
    """``rank_relevant`` where screened scores are exact, by sorting each query's scores; there must be a query."""
    comparison = Comparison.of(query, gallery, truth.query, truth.gallery, device)
    pairs, everything = TruthPairs(truth), slice(0, len(truth.gallery))
    at_once = min(block, _MOST_SCORES // max(1, len(truth.gallery))) // comparison.query.most_rows
    parts = []
    for rows in tiles(len(truth.query), max(1, at_once)):
        positives, junk = pairs.of(rows)
        scores = comparison.screened(rows, everything, "float32").cpu()
        scores[junk.row, junk.column] = -np.inf
        columns = positives.column.tensor_split(torch.searchsorted(positives.row, torch.arange(1, len(scores))))
        ignored = junk.row.bincount(minlength=len(scores))
        parts += [_rank_one(*(x.numpy() for x in own)) for own in zip(scores, columns, ignored, strict=True)]
    return RelevantRanks.join(parts)


def _rank_one(score: npt.NDArray[np.float32], positives: IntArray, junk: IntArray) -> RelevantRanks:
    """The ranks of one query's positives among ``(g,)`` scores, of which the least are junk."""
    order = np.argsort(-score, kind="stable")
    ascending = -score[order]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    found = np.sort(rank[positives])
    above, up_to = (np.searchsorted(ascending, ascending[found], side) for side in ("left", "right"))
    _, level, relevant = np.unique(above, return_inverse=True, return_counts=True)
    return RelevantRanks(
        ranks=RaggedLists(found, np.array([0, len(found)], np.int64)),
        positives=np.array([len(found)], np.int64),
        above=above,
        tied=up_to - above,
        tied_relevant=relevant[level],
        ranked=np.array([len(score) - int(junk)], np.int64),
    )


def rank_by_levels(
    query: Descriptors, gallery: Descriptors, truth: GroundTruth, block: int, device: torch.device | str | None
) -> RelevantRanks:
    """``rank_relevant`` for any metric, by counting what scores above each positive."""
    comparison = Comparison.of(query, gallery, truth.query, truth.gallery, device)
    positives, junk = TruthPairs(truth).of()
    score = comparison.exact(positives.row, positives.column)
    # Descending score; equal ones in gallery order.
    order = torch.from_numpy(np.lexsort((positives.column, -score, positives.row)))
    positives, score = Pairs(positives.row[order], positives.column[order]), score[order]
    levels = Levels.of(positives.row, score, len(truth.query))
    counts = count_above(comparison, levels, positives, Pairs.join(positives, junk), block)

    offsets = np.concatenate([[0], np.cumsum(np.bincount(positives.row, minlength=len(truth.query)))])
    place = np.arange(len(score)) - offsets[positives.row]
    level = levels.of_pair.numpy()
    relevant = np.bincount(level, minlength=len(levels.score))
    higher = place[np.searchsorted(level, level)] if len(level) else place
    ranked = len(truth.gallery) - np.bincount(junk.row, minlength=len(truth.query))
    return RelevantRanks(
        ranks=RaggedLists(counts.above.numpy()[level] + counts.before.numpy() + place, offsets),
        positives=np.diff(offsets),
        above=counts.above.numpy()[level] + higher,
        tied=(counts.tied.numpy() + relevant)[level],
        tied_relevant=relevant[level],
        ranked=ranked,
    )
