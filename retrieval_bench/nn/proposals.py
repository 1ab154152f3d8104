"""Where objects may be in a picture: boxes laid out on a grid, or found by a region proposal network."""

import math

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError

_ASPECTS = (1.0, 0.5, 2.0)  # width to height; an RPN's anchors have the same
_STEP = 0.6  # of a box's side to its neighbour's start, at most: R-MAC's squares overlap by 40 % as well


def grid_boxes(height: int, width: int, count: int = 200) -> Tensor:
    """Boxes of several scales and aspects that cover a picture evenly, the same for all pictures of one size.

    First the whole picture, then level after level as R-MAC's squares: those of level l have the side
    ``2 min(height, width) / (l + 1)``, here in three aspects of one area. Of the last level, which would be too many,
    boxes are left out evenly.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        count: How many boxes.

    Returns:
        ``(count, 4)`` float32 x1, y1, x2, y2 in pixels inside the picture; large boxes come first, and none is twice.

    Raises:
        OptionError: If the picture is empty or no box is asked for.
    """
    if min(height, width, count) < 1:
        raise OptionError(f"there are no {count} boxes in a picture of {width}x{height} pixels; ask for 1 or more")
    boxes = {(0.0, 0.0, float(width), float(height)): None}  # in the order in which they were put in
    level = 0
    while len(boxes) < count:
        level += 1
        finer = [box for box in _level(height, width, level) if box not in boxes]
        kept = min(len(finer), count - len(boxes))
        boxes.update(dict.fromkeys(finer[i * len(finer) // kept] for i in range(kept)))
    return torch.tensor(list(boxes), dtype=torch.float32)


def _level(height: int, width: int, level: int) -> list[tuple[float, float, float, float]]:
    side = 2 * min(height, width) / (level + 1)
    boxes = []
    for aspect in _ASPECTS:
        wide, high = min(side * math.sqrt(aspect), width), min(side / math.sqrt(aspect), height)
        for y in _starts(height, high):
            boxes += [(x, y, x + wide, y + high) for x in _starts(width, wide)]
    return boxes


def _starts(length: int, side: float) -> list[float]:
    gaps = math.ceil((length - side) / (_STEP * side))
    return [i * (length - side) / gaps for i in range(gaps + 1)] if gaps else [0.0]
