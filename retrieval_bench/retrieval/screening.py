"""Fast scores of every pair, tile by tile, and how far they may be from the scores that decide.

Where queries are the gallery a tile of the symmetric matrix serves its rows and its columns, and where the processor
multiplies bfloat16 faster, dot products are screened in it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Pairs, tiles
from retrieval_bench.retrieval.similarity import (
    UNDERFLOW,
    Comparison,
    Side,
    round_down,
    rounding_share,
    unreduced_float32,
)

_BFLOAT16_ROUNDOFF = 2.0**-8


class Screen:
    """The screened scores of a comparison; excluded pairs score ``-inf``.

    Args:
        comparison: The two sides.
        excluded: Pairs that are left out.
        rows: Queries of one tile.
        columns: Gallery images of one tile.
        coarse: Whether bfloat16 will do, where it is faster.

    Attributes:
        rows: The queries of each row of tiles.
        columns: The gallery images of each column of tiles.
        halved: Whether each tile also serves the queries that its columns are.
        coarse: Whether scores are in bfloat16.
    """

    def __init__(
        self, comparison: Comparison, excluded: Pairs, *, rows: int, columns: int, coarse: bool = True
    ) -> None:
        self._comparison = comparison
        query, gallery = comparison.query, comparison.gallery
        self.device = gallery.data.device
        self.rows, self.columns = list(tiles(len(query), rows)), list(tiles(len(gallery), columns))
        self.halved = comparison.same_sides and _is_symmetric(excluded, len(gallery))
        self.coarse = coarse and comparison.is_dense and comparison.metric == "dot" and bfloat16_pays(self.device)
        # Rounding sums to bfloat16 keeps their order: it suffices to round the ends of a window, too.
        self._rounding = _BFLOAT16_ROUNDOFF if self.coarse else 0.0
        if self.coarse:
            queries = _Coarse.of(query)
            images = queries if comparison.same_sides else _Coarse.of(gallery)
            self._sides = (queries.data, images.data)
            self._width = queries.width(images)
        else:
            self._width = comparison.width(query.norm, float(gallery.norm.max()), "float32")
        self._group_by_tile(excluded, rows, columns)

    def _group_by_tile(self, excluded: Pairs, height: int, width: int) -> None:
        """Sort excluded pairs by tile, and count their places from its corner."""
        tile = excluded.row // height * len(self.columns) + excluded.column // width
        order = torch.argsort(tile)
        local = (excluded.row[order] % height, excluded.column[order] % width)
        self._excluded = Pairs(*(places.to(self.device) for places in local))
        edges = torch.arange(len(self.rows) * len(self.columns) + 1)
        self._edges: list[int] = torch.searchsorted(tile[order], edges).tolist()

    def places(self) -> Iterator[tuple[int, int]]:
        """The row and the column of each tile that has to be looked at; where halved, those from the diagonal on."""
        return ((i, j) for i in range(len(self.rows)) for j in range(i if self.halved else 0, len(self.columns)))

    def scores(self, i: int, j: int) -> Tensor:
        """``(queries, images)`` screened scores of a tile, in float32 or bfloat16."""
        rows, columns = self.rows[i], self.columns[j]
        if self.coarse:
            with unreduced_float32(self.device):
                scores = self._sides[0][rows] @ self._sides[1][columns].T
        else:
            scores = self._comparison.screened(rows, columns, "float32")
        n = i * len(self.columns) + j
        own = slice(self._edges[n], self._edges[n + 1])
        scores[self._excluded.row[own], self._excluded.column[own]] = -math.inf
        return scores

    def window(self, score: Tensor) -> tuple[Tensor, Tensor]:
        """``(q,)`` ends of the screened values that a pair of each query with exactly a given score may have.

        Args:
            score: ``(q,)`` float64 scores.

        Returns:
            Lower and upper end, in float32; the window includes both.
        """
        middle = self._comparison.to_screened(score)
        return self._rounded_down(middle - self._width), -self._rounded_down(-(middle + self._width))

    def floor(self, screened: Tensor, queries: slice) -> Tensor:
        """``(n,)`` the least screened values with which an image can still reach the score of another.

        Args:
            screened: ``(n,)`` float32 screened values of the others, one a query; infinite ones stay as they are.
            queries: The queries.
        """
        value, width = screened.double(), self._width[queries]
        # Of what was rounded: at most 1 / (1 - u) times the value, and 1 / (1 - u) < 1 + u + 2 u^2.
        least = value - self._rounding * (1 + 2 * self._rounding) * value.abs() - width
        return torch.where(screened.isinf(), screened, self._rounded_down(least - width))

    def _rounded_down(self, value: Tensor) -> Tensor:
        return round_down(value - self._rounding * value.abs(), torch.float32)


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

    def width(self, others: "_Coarse") -> Tensor:
        """``Comparison.width`` for products in bfloat16 that are added up in float32."""
        other, residual = float(others.norm.max()), float(others.residual.max())
        length, other_length = self.norm + self.residual, other + residual
        width = self.residual * other + length * residual
        # The processor rounds each product before adding it: twice the terms.
        width = width + rounding_share(2 * self.data.shape[1], "float32") * length * other_length
        return width + UNDERFLOW * (1 + length + other_length)


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
