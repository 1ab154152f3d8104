"""R-MAC's regions: overlapping squares at a few sizes, in whole cells of a map."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError

_MOST_EXTRA = 6


class Region(NamedTuple):
    """A rectangle of cells.

    Attributes:
        x: First column.
        y: First row.
        width: Columns.
        height: Rows.
    """

    x: int
    y: int
    width: int
    height: int


@lru_cache(maxsize=1024)
def rmac_regions(height: int, width: int, levels: int = 3, *, include_global: bool = False) -> tuple[Region, ...]:
    """The squares of R-MAC (Tolias et al., ICLR 2016, section 3.2), computed in whole numbers.

    Level l has l by l squares, and on the longer side as many more as bring the overlap of neighbours at the first
    level nearest to 40 %. Where two numbers are equally near (aspects of exactly 1.8, 2.44, ...) the smaller is taken;
    code in floating point takes either.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        levels: How many sizes; one whose squares would be smaller than a cell has none.
        include_global: Whether the whole map comes first, besides (as in the siaMAC toolbox's R-MAC, not Tolias').

    Raises:
        OptionError: If the map or the number of levels is empty.
    """
    if min(height, width, levels) < 1:
        raise OptionError(f"a map of {height}x{width} cells has no regions at {levels} levels: each must be at least 1")
    extra = _extra(min(height, width), max(height, width))
    squares = [Region(0, 0, width, height)] if include_global else []
    for level in range(1, levels + 1):
        side = 2 * min(height, width) // (level + 1)
        if side:
            rows = _starts(height, side, level + (extra if height > width else 0))
            columns = _starts(width, side, level + (extra if width > height else 0))
            squares += [Region(x, y, side, side) for y in rows for x in columns]
    return tuple(squares)


def _extra(short: int, long: int) -> int:
    if short == long:
        return 0

    def distance(t: int) -> tuple[int, int]:
        # |1 - (long - short) / (t short) - 2/5| times what makes all six whole numbers: 60 short.
        return abs(36 * short - (60 // t) * (long - short)), t

    return min(range(1, _MOST_EXTRA + 1), key=distance)


def _starts(length: int, side: int, count: int) -> list[int]:
    return [0] if count == 1 else [i * (length - side) // (count - 1) for i in range(count)]


def max_regions(x: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """The maximum of each channel in each region.

    Args:
        x: ``(B, C, H, W)``.
        regions: R rectangles inside the map.

    Returns:
        ``(B, R, C)``.
    """
    return torch.stack([x[..., r.y : r.y + r.height, r.x : r.x + r.width].amax((-2, -1)) for r in regions], 1)
