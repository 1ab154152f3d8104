"""Count what scores above given levels, tile by tile: no ranking is sorted and no score is kept."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from retrieval_bench.retrieval.similarity import Comparison, Precision, ragged_range

# Above this share of undecided pairs a second screening in float64 costs less than looking at each.
_CROWDED = 1 / 16


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a gallery image, by their places on the two sides.

    Attributes:
        row: ``(pairs,)`` int64 places of the queries.
        column: ``(pairs,)`` int64 places in the gallery.
    """

    row: Tensor
    column: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def key(self, width: int) -> Tensor:
        """``(pairs,)`` one number for each pair, increasing by row, then column."""
        return self.row * width + self.column

    def without(self, others: "Pairs", width: int) -> "Pairs":
        """Those that are not among others; all in row order, then column order."""
        key, other = self.key(width), others.key(width)
        keep = torch.searchsorted(other, key) == torch.searchsorted(other, key, right=True)
        return Pairs(self.row[keep], self.column[keep])

    @staticmethod
    def join(*parts: "Pairs") -> "Pairs":
        """One after the other."""
        return Pairs(torch.cat([p.row for p in parts]), torch.cat([p.column for p in parts]))

    def of_rows(self, rows: Tensor) -> "Pairs":
        """The pairs of some rows, the rows now counted by their place in ``rows``; ``self`` must be in row order."""
        start = torch.searchsorted(self.row, rows)
        length = torch.searchsorted(self.row, rows, right=True) - start
        return Pairs(torch.repeat_interleave(torch.arange(len(rows)), length), self.column[ragged_range(start, length)])


@dataclass(frozen=True)
class Levels:
    """For each query the distinct scores of interest, descending.

    Attributes:
        score: ``(levels,)`` float64, those of one query side by side.
        start: ``(q + 1,)`` the first level of each query.
        of_pair: ``(pairs,)`` the level of each pair they were made from.
    """

    score: Tensor
    start: Tensor
    of_pair: Tensor

    @classmethod
    def of(cls, row: Tensor, score: Tensor, queries: int) -> "Levels":
        """Levels of the scores of pairs sorted by row, then descending score."""
        fresh = torch.ones(len(row), dtype=torch.bool)
        fresh[1:] = (row[1:] != row[:-1]) | (score[1:] != score[:-1])
        start = torch.searchsorted(row[fresh], torch.arange(queries + 1))
        return cls(score[fresh], start, fresh.cumsum(0) - 1)

    def table(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of some rows as one ``(rows, most levels)`` table, and where each is in ``score``.

        Missing ones are infinite, and -1.
        """
        length = self.start[rows + 1] - self.start[rows]
        table = torch.full((len(rows), int(length.max())), math.inf, dtype=torch.float64)
        place = torch.full(table.shape, -1)
        row = torch.repeat_interleave(torch.arange(len(rows)), length)
        column = ragged_range(torch.zeros_like(length), length)
        place[row, column] = ragged_range(self.start[rows], length)
        table[row, column] = self.score[place[row, column]]
        return table, place


@dataclass(frozen=True)
class Counts:
    """What was counted, excluded pairs aside.

    Attributes:
        above: ``(levels,)`` gallery images that score strictly above each level.
        tied: ``(levels,)`` gallery images exactly at it.
        before: ``(pairs,)`` of the images at a pair's level those that come before it in the gallery.
    """

    above: Tensor
    tied: Tensor
    before: Tensor


def count_above(comparison: Comparison, levels: Levels, pairs: Pairs, excluded: Pairs, block: int) -> Counts:
    """Count for every level the gallery images above it and at it, excluded pairs left out.

    Args:
        comparison: The two sides.
        levels: The levels of each query.
        pairs: The pairs the levels were made from, in row order.
        excluded: Pairs that are not counted.
        block: Descriptors of either side that are compared at once.
    """
    counts = Counts(*(torch.zeros(n, dtype=torch.int64) for n in (*[len(levels.score)] * 2, len(pairs))))
    of_query = levels.start.diff()
    asking = of_query.nonzero().squeeze(1)
    if not len(asking):
        return counts
    # Queries with about as many levels go together: less padding.
    asking = asking[torch.argsort(of_query[asking], stable=True)]
    excluded = _in_row_order(excluded, len(comparison.gallery))
    for rows in torch.split(asking, max(1, block // comparison.query.most_rows)):
        work = _Block(comparison, rows, *levels.table(rows), excluded.of_rows(rows))
        start = torch.searchsorted(pairs.row, rows)
        own = ragged_range(start, torch.searchsorted(pairs.row, rows, right=True) - start)
        for tile in tiles(len(comparison.gallery), max(1, block // comparison.gallery.most_rows)):
            work.count(tile, counts, levels.of_pair[own], pairs.column[own], own)
    return counts


def tiles(images: int, size: int) -> Iterator[slice]:
    """Consecutive ranges that cover a side."""
    return (slice(i, min(i + size, images)) for i in range(0, images, size))


def _in_row_order(pairs: Pairs, width: int) -> Pairs:
    order = torch.argsort(pairs.key(width))
    return Pairs(pairs.row[order], pairs.column[order])


@dataclass(frozen=True)
class _Block:
    """Some queries with their levels; counts one range of the gallery at a time."""

    comparison: Comparison
    rows: Tensor
    levels: Tensor  # (rows, most levels)
    place: Tensor  # (rows, most levels), where each level's count goes
    excluded: Pairs

    def count(self, tile: slice, counts: Counts, level: Tensor, column: Tensor, own: Tensor) -> None:
        """Add what a range of the gallery holds; ``level`` and ``column`` are those of the pairs ``own``."""
        certain, near, screened, window = self._screen(tile, "float32")
        if len(near) > _CROWDED * len(self.rows) * (tile.stop - tile.start) and not self._exact:
            certain, near, screened, window = self._screen(tile, "float64")
        known = self.place >= 0
        counts.above[self.place[known]] += certain[known]
        for part in torch.split(torch.arange(len(near)), max(1, 2**20 // self.levels.shape[1])):
            row, at = near[part].T
            if self._exact:
                score = self.comparison.from_screened(screened[part])
            else:
                score = self.comparison.exact(self.rows[row], tile.start + at)
            lower, upper = (end[row] for end in window)
            undecided = (screened[part, None] >= lower) & (screened[part, None] <= upper)
            above, equal = score[:, None] > self.levels[row], score[:, None] == self.levels[row]
            counts.above.index_add_(
                0, self.place[row][undecided & above], torch.ones(int((undecided & above).sum()), dtype=torch.int64)
            )
            self._count_ties(undecided & equal, row, tile.start + at, counts, level, column, own)

    @property
    def _exact(self) -> bool:
        return self.comparison.screening_is_exact

    def _screen(self, tile: slice, precision: Precision) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Counts certainly above each level, the pairs near any level, their screened scores, and the windows."""
        scores = self.comparison.screened(self.rows, tile, precision)
        inside = (self.excluded.column >= tile.start) & (self.excluded.column < tile.stop)
        scores[self.excluded.row[inside], self.excluded.column[inside] - tile.start] = -math.inf
        query, gallery = self.comparison.query.norm[self.rows], self.comparison.gallery.norm[tile]
        window = self.comparison.window(self.levels, query, float(gallery.max()), precision)
        lower, upper = (end.to(scores.device) for end in window)
        certain = torch.zeros(self.levels.shape, dtype=scores.dtype, device=scores.device)
        near, above = torch.zeros_like(scores), torch.empty_like(scores)
        # Comparisons that write floats and are then added up are far faster than Boolean sums.
        for j in range(self.levels.shape[1]):
            torch.gt(scores, upper[:, j : j + 1], out=above)
            certain[:, j] = above.sum(1)
            near -= above
            near += torch.ge(scores, lower[:, j : j + 1], out=above)
        pairs = near.nonzero()
        return certain.cpu().long(), pairs.cpu(), scores[pairs[:, 0], pairs[:, 1]].cpu(), window

    def _count_ties(
        self, equal: Tensor, row: Tensor, at: Tensor, counts: Counts, level: Tensor, column: Tensor, own: Tensor
    ) -> None:
        pair, j = equal.nonzero(as_tuple=True)
        if not len(pair):
            return
        width = len(self.comparison.gallery)
        where = self.place[row[pair], j]
        counts.tied.index_add_(0, where, torch.ones_like(where))
        key, _ = torch.sort(where * width + at[pair])
        counts.before[own] += torch.searchsorted(key, level * width + column) - torch.searchsorted(key, level * width)
