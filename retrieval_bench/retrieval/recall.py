"""Recall@K at full speed: count what beats each query's best positive, and rank nothing.

The count fuses with the matrix product of each tile, and where queries are the gallery every tile of the symmetric
matrix serves its rows and its columns. Screening, in bfloat16 where the processor multiplies it faster, brackets every
rank; only for queries whose bracket holds one of the K, the images inside it are compared exactly. Where a query has
too many of them to be remembered, all its images are counted again.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Levels, Pairs, count_above, tiles
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.similarity import (
    UNDERFLOW,
    Comparison,
    Side,
    round_down,
    rounding_share,
    unreduced_float32,
)

_BFLOAT16_ROUNDOFF = 2.0**-8
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
    screening = _Screening(comparison, level, excluded, block)
    certain, possible = screening.brackets()

    rank, last = certain[best.row], possible[best.row]
    wanted = torch.tensor(ks).expand(len(best), -1)
    open_ = ((rank[:, None] < wanted) & (wanted <= last[:, None])).any(1)
    few = last - rank <= screening.most_near
    ask = Pairs(best.row[open_ & few], best.column[open_ & few])
    rank[open_ & few] += _count_near(comparison, screening.near(), ask, score[open_ & few])
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


class _Screening:
    """Brackets for the number of images that score above one level a query."""

    def __init__(self, comparison: Comparison, level: Tensor, excluded: Pairs, block: int) -> None:
        self.comparison = comparison
        query, gallery = comparison.query, comparison.gallery
        self.device = gallery.data.device
        self.rows = list(tiles(len(query), max(1, block // query.most_rows)))
        self.columns = list(tiles(len(gallery), max(1, block // gallery.most_rows)))
        self.halved = comparison.same_sides and _is_symmetric(excluded, len(gallery))
        self.coarse: tuple[Tensor, Tensor] | None = None
        window = comparison.window(level, query.norm, float(gallery.norm.max()), "float32")
        if comparison.metric == "dot" and query.most_rows == gallery.most_rows == 1 and bfloat16_pays(self.device):
            queries = _Coarse.of(query)
            images = queries if comparison.same_sides else _Coarse.of(gallery)
            self.coarse = (queries.data, images.data)
            window = queries.window(level, images)
        self.lower, self.upper = (end.to(self.device) for end in window)
        self._group_by_tile(excluded)
        # Other devices would wait for each tile's answer.
        self.most_near = _MOST_NEAR if self.device.type == "cpu" else 0
        self._near: list[Pairs] = []
        self.certain, self.possible = (torch.zeros(len(query), dtype=torch.int64, device=self.device) for _ in range(2))

    def _group_by_tile(self, excluded: Pairs) -> None:
        """Sort excluded pairs by tile, and count their places from its corner."""
        height, width = self.rows[0].stop, self.columns[0].stop
        tile = excluded.row // height * len(self.columns) + excluded.column // width
        order = torch.argsort(tile)
        local = (excluded.row[order] % height, excluded.column[order] % width)
        self.excluded = Pairs(*(places.to(self.device) for places in local))
        edges = torch.arange(len(self.rows) * len(self.columns) + 1)
        self.edges: list[int] = torch.searchsorted(tile[order], edges).tolist()

    def brackets(self) -> tuple[Tensor, Tensor]:
        """``(q,)`` how many images are certainly, and how many are possibly above each query's level."""
        for i, rows in enumerate(self.rows):
            for j in range(i if self.halved else 0, len(self.columns)):
                scores = self._scores(i, j)
                flag = torch.empty_like(scores)
                self._count(scores, flag, rows, self.columns[j], 1)
                if self.halved and j > i:
                    self._count(scores, flag, self.columns[j], rows, 0)
        return self.certain.cpu(), self.possible.cpu()

    def _count(self, scores: Tensor, flag: Tensor, queries: slice, images: slice, axis: int) -> None:
        """Count a tile for its queries; the images lie along an axis of it."""
        shape = (-1, 1) if axis else (1, -1)
        # Comparisons that write floats and are then added up are far faster than Boolean sums.
        above = torch.gt(scores, self.upper[queries].view(shape), out=flag).sum(axis).long()
        reaching = torch.ge(scores, self.lower[queries].view(shape), out=flag).sum(axis).long()
        self.certain[queries] += above
        self.possible[queries] += reaching
        if not self.most_near:
            return
        inside = self.possible[queries] - self.certain[queries]
        row = ((reaching > above) & (inside <= self.most_near)).nonzero().squeeze(1)
        own, asking = (scores if axis else scores.T)[row], row + queries.start
        near = (own >= self.lower[asking, None]) & (own <= self.upper[asking, None])
        row, column = near.nonzero(as_tuple=True)
        self._near.append(Pairs(asking[row], column + images.start))

    def near(self) -> Pairs:
        """The pairs inside the brackets of all queries that have no more than ``most_near`` of them."""
        none = torch.zeros(0, dtype=torch.int64)
        return Pairs.join(Pairs(none, none), *self._near)

    def _scores(self, i: int, j: int) -> Tensor:
        rows, columns = self.rows[i], self.columns[j]
        if self.coarse is None:
            scores = self.comparison.screened(rows, columns, "float32")
        else:
            with unreduced_float32(self.device):
                scores = (self.coarse[0][rows] @ self.coarse[1][columns].T).float()
        n = i * len(self.columns) + j
        own = slice(self.edges[n], self.edges[n + 1])
        scores[self.excluded.row[own], self.excluded.column[own]] = -math.inf
        return scores


@dataclass(frozen=True)
class _Coarse:
    """One side in bfloat16.

    Attributes:
        data: ``(n, d)`` bfloat16 descriptors.
        norm: ``(n,)`` float64 lengths before rounding.
        residual: ``(n,)`` float64 lengths of what rounding took away.
    """

    data: Tensor
    norm: Tensor
    residual: Tensor

    @classmethod
    def of(cls, side: Side) -> "_Coarse":
        """Round the descriptors of a side."""
        data, residual = torch.empty_like(side.data, dtype=torch.bfloat16), torch.empty(len(side), dtype=torch.float64)
        for part in tiles(len(side), 4096):
            data[part] = side.data[part]
            residual[part] = (side.data[part].double() - data[part].double()).square().sum(1).sqrt().cpu()
        return cls(data, side.norm, residual)

    def window(self, score: Tensor, others: "_Coarse") -> tuple[Tensor, Tensor]:
        """``Comparison.window`` for products in bfloat16, added up in float32 and rounded to bfloat16 again."""
        other, residual = float(others.norm.max()), float(others.residual.max())
        length, other_length = self.norm + self.residual, other + residual
        width = self.residual * other + length * residual
        # The processor rounds each product before adding it: twice the terms.
        width = width + rounding_share(2 * self.data.shape[1], "float32") * length * other_length
        width = width + UNDERFLOW * (1 + length + other_length)
        # Rounding keeps the order of values: it suffices to round the ends of the window, too.
        lower, upper = score - width, score + width
        lower, upper = lower - _BFLOAT16_ROUNDOFF * lower.abs(), upper + _BFLOAT16_ROUNDOFF * upper.abs()
        return round_down(lower, torch.float32), -round_down(-upper, torch.float32)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16 products: matrix products then take less than half the time.

    Only processors: what the units of other devices round in between is not documented well enough for a bound.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return any(getattr(torch.cpu, f"_is_{feature}_supported", bool)() for feature in ("avx512_bf16", "amx_tile"))


def _is_symmetric(pairs: Pairs, width: int) -> bool:
    there, back = (torch.sort(p.key(width)).values for p in (pairs, Pairs(pairs.column, pairs.row)))
    return torch.equal(there, back)
