"""Recall@K at full speed: count what beats each query's best positive, and rank nothing.

The count fuses with the matrix product of each tile. Screening brackets every rank; only for queries whose bracket
holds one of the K, the images inside it are compared exactly. Where a query has too many of them to be remembered, all
its images are counted again.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Levels, Pairs, count_above
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.screening import Screen
from retrieval_bench.retrieval.similarity import Comparison

_MOST_NEAR = 32  # pairs inside a bracket that are remembered


def hits_at(
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    ks: list[int],
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> npt.NDArray[np.float64]:
    """Whether each query finds a positive among its K nearest; equal to ``recall_at_k`` of ``rank_relevant``.

    Args:
        query: Descriptors of at least the queries of ``truth``.
        gallery: Descriptors of at least its gallery.
        truth: Who asks, who is searched, and who should be found.
        ks: The K.
        block: Descriptors of either side that are compared at once.
        device: Where to compare; by default where the gallery's descriptors are.

    Returns:
        ``(q, len(ks))`` 1 or 0, ``nan`` for a query without a positive.

    Raises:
        ValueError: If the sides cannot be compared, or a descriptor is not finite.
        KeyError: If an image has no descriptor.
    """
    comparison = Comparison.of(query, gallery, truth.query, truth.gallery, device)
    positives, junk = TruthPairs(truth).of()
    hits = np.full((len(truth.query), len(ks)), np.nan)
    if not len(positives):
        return hits
    excluded = Pairs.join(positives, junk)
    best, score = _best(comparison, positives)
    level = torch.full((len(truth.query),), math.inf, dtype=torch.float64)
    level[best.row] = score
    rows, columns = (max(1, block // side.most_rows) for side in (comparison.query, comparison.gallery))
    brackets = _Brackets(Screen(comparison, excluded, rows=rows, columns=columns), level)
    certain, possible = brackets.count()

    rank, last = certain[best.row], possible[best.row]
    wanted = torch.tensor(ks).expand(len(best), -1)
    open_ = ((rank[:, None] < wanted) & (wanted <= last[:, None])).any(1)
    few = last - rank <= brackets.most_near
    ask = Pairs(best.row[open_ & few], best.column[open_ & few])
    rank[open_ & few] += _count_near(comparison, brackets.near(), ask, score[open_ & few])
    again = Pairs(best.row[open_ & ~few], best.column[open_ & ~few])
    counts = count_above(comparison, Levels.of(again.row, score[open_ & ~few], len(certain)), again, excluded, block)
    rank[open_ & ~few] = counts.above + counts.before
    hits[best.row.numpy()] = (rank[:, None] < wanted).numpy()
    return hits


def _best(comparison: Comparison, positives: Pairs) -> tuple[Pairs, Tensor]:
    """Each query's best positive, of equal ones the first in the gallery, and its score."""
    score = comparison.exact(positives.row, positives.column)
    order = torch.from_numpy(np.lexsort((positives.column, -score, positives.row)))
    row = positives.row[order]
    first = torch.ones(len(row), dtype=torch.bool)
    first[1:] = row[1:] != row[:-1]
    return Pairs(row[first], positives.column[order[first]]), score[order[first]]


def _count_near(comparison: Comparison, near: Pairs, best: Pairs, level: Tensor) -> Tensor:
    """``(queries,)`` how many of the near pairs rank before their query's best positive, whose score is its level."""
    at = torch.searchsorted(best.row, near.row)
    asked = torch.isin(near.row, best.row)
    at, column = at[asked], near.column[asked]
    score = comparison.exact(near.row[asked], column)
    before = (score > level[at]) | ((score == level[at]) & (column < best.column[at]))
    return at[before].bincount(minlength=len(best))


class _Brackets:
    """Brackets for the number of images that score above one level a query."""

    def __init__(self, screen: Screen, level: Tensor) -> None:
        self._screen = screen
        self._lower, self._upper = (end.to(screen.device) for end in screen.window(level))
        # Other devices would wait for each tile's answer.
        self.most_near = _MOST_NEAR if screen.device.type == "cpu" else 0
        self._near: list[Pairs] = []
        self._certain, self._possible = (
            torch.zeros(len(level), dtype=torch.int64, device=screen.device) for _ in range(2)
        )

    def count(self) -> tuple[Tensor, Tensor]:
        """``(q,)`` how many images are certainly, and how many are possibly above each query's level."""
        screen = self._screen
        for i, j in screen.places():
            rows, columns, scores = screen.rows[i], screen.columns[j], screen.scores(i, j).float()
            flag = torch.empty_like(scores)
            self._count(scores, flag, rows, columns, 1)
            if screen.halved and j > i:
                self._count(scores, flag, columns, rows, 0)
        return self._certain.cpu(), self._possible.cpu()

    def _count(self, scores: Tensor, flag: Tensor, queries: slice, images: slice, axis: int) -> None:
        """Count a tile for its queries; the images lie along an axis of it."""
        shape = (-1, 1) if axis else (1, -1)
        # Comparisons that write floats and are then added up are far faster than Boolean sums.
        above = torch.gt(scores, self._upper[queries].view(shape), out=flag).sum(axis).long()
        reaching = torch.ge(scores, self._lower[queries].view(shape), out=flag).sum(axis).long()
        self._certain[queries] += above
        self._possible[queries] += reaching
        if not self.most_near:
            return
        inside = self._possible[queries] - self._certain[queries]
        row = ((reaching > above) & (inside <= self.most_near)).nonzero().squeeze(1)
        own, asking = (scores if axis else scores.T)[row], row + queries.start
        near = (own >= self._lower[asking, None]) & (own <= self._upper[asking, None])
        row, column = near.nonzero(as_tuple=True)
        self._near.append(Pairs(asking[row], column + images.start))

    def near(self) -> Pairs:
        """The pairs inside the brackets of all queries that have no more than ``most_near`` of them."""
        none = torch.zeros(0, dtype=torch.int64)
        return Pairs.join(Pairs(none, none), *self._near)
