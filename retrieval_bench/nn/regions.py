"""Regions of a map, in whole cells: R-MAC's overlapping squares at a few sizes, and clusters."""

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


def picture_regions(
    picture: tuple[int, int], cells: tuple[int, int], stride: int, levels: int = 5
) -> tuple[Region, ...]:
    """R-MAC's squares of a picture's pixels, each as the cells of its map from the nearest to both of its ends.

    So regional attention's release pools them: a square's first and last pixel are divided by the stride and rounded,
    halves upwards, and both cells belong to it. Squares are a cell wider than those of a grid laid on the map.

    Args:
        picture: Height and width in pixels.
        cells: Height and width of its map.
        stride: Pixels between neighbouring cells.
        levels: How many sizes of squares.

    Returns:
        As many rectangles, inside the map, as the picture's grid has squares, in its order.
    """
    height, width = cells

    def reach(first: int, side: int, most: int) -> tuple[int, int]:
        start, end = ((2 * pixel + stride) // (2 * stride) for pixel in (first, first + side - 1))
        start = min(start, most - 1)
        return start, min(end, most - 1) - start + 1

    regions = []
    for square in rmac_regions(*picture, levels):
        (x, wide), (y, high) = reach(square.x, square.width, width), reach(square.y, square.height, height)
        regions.append(Region(x, y, wide, high))
    return tuple(regions)


def max_regions(x: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """The maximum of each channel in each region.

    Args:
        x: ``(B, C, H, W)``.
        regions: R rectangles inside the map.

    Returns:
        ``(B, R, C)``.
    """
    # With channels last, as trunks give maps, neighbours in memory are independent, and maxima run fifty times as fast.
    cells = x.permute(0, 2, 3, 1).contiguous()
    # First of rows, then of columns: the 70 regions of five levels share 15 spans of rows and 20 of columns.
    rows, columns = (sorted(set(spans)) for spans in ([r[1::2] for r in regions], [r[::2] for r in regions]))
    down = torch.stack([cells[:, y : y + height].amax(1) for y, height in rows], 1)
    found = x.new_empty(x.shape[0], len(regions), x.shape[1])
    for left, width in columns:
        mine = [i for i, r in enumerate(regions) if (r.x, r.width) == (left, width)]
        place = [rows.index((regions[i].y, regions[i].height)) for i in mine]
        found[:, mine] = down[:, place, left : left + width].amax(2)
    return found


def mean_regions(x: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """The mean of each channel in each region.

    One product with a matrix of R rows does it: five times as fast as an integral image of as many channels, and
    without the differences of large sums that cost one its last digits.

    Args:
        x: ``(B, C, H, W)``.
        regions: R rectangles inside the map.

    Returns:
        ``(B, R, C)`` of the same type.
    """
    edges = torch.tensor(regions, device=x.device)[:, :, None]
    left, top, width, height = edges.unbind(1)
    down, across = (torch.arange(n, device=x.device) for n in x.shape[2:])
    row = ((down >= top) & (down < top + height)).to(x.dtype) / height
    column = ((across >= left) & (across < left + width)).to(x.dtype) / width
    share = (row[:, :, None] * column[:, None]).flatten(1)
    return share @ x.permute(0, 2, 3, 1).flatten(1, 2)


def max_labelled(x: Tensor, label: Tensor, labels: int) -> Tensor:
    """The maximum of each channel over the cells of each label.

    Args:
        x: ``(B, N, C)``.
        label: ``(B, N)`` int64 below ``labels``; a cell of -1 belongs nowhere.
        labels: How many there are, R.

    Returns:
        ``(B, R, C)``; minus infinity for a label that no cell has.
    """
    batch, _, channels = x.shape
    # One place more takes the cells that belong nowhere. Rows of one matrix are what torch reduces fastest.
    place = torch.where(label < 0, labels, label)
    row = place + (labels + 1) * torch.arange(batch, device=x.device)[:, None]
    maxima = x.new_full((batch * (labels + 1), channels), -torch.inf)
    maxima.scatter_reduce_(0, row.reshape(-1, 1).expand(-1, channels), x.reshape(-1, channels), "amax")
    return maxima.view(batch, labels + 1, channels)[:, :labels]
