"""How much of each region of a map lies on the object that a box shows (ClusterMAC, equation 1 and Figure 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cells_in_box(box: Sequence[float], picture: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The cells of a map whose centre lies in a box; the one nearest to the box's centre if there is none.

    Args:
        box: x1, y1, x2, y2 in pixels of the picture.
        picture: Its height and width.
        size: Height and width of the map, whose cells are taken as equal parts of the picture.

    Returns:
        ``size`` bool.
    """
    x1, y1, x2, y2 = box
    sides = []
    for first, last, pixels, cells in zip((y1, x1), (y2, x2), picture, size, strict=True):
        centre = (torch.arange(cells, dtype=torch.float64) + 0.5) * pixels / cells
        inside = (centre >= first) & (centre <= last)
        if not inside.any():
            inside[(centre - (first + last) / 2).abs().argmin()] = True
        sides.append(inside)
    return sides[0][:, None] & sides[1]


def precision_of_clusters(label: Tensor, inside: Tensor) -> Tensor:
    """The share of each cluster's cells that lies inside.

    Equation 1 prints the intersection of two areas; what is meant is the area of the intersection.

    Args:
        label: ``(H, W)`` int64 the cluster of each cell.
        inside: ``(H, W)`` bool.

    Returns:
        ``(clusters that have a cell,)`` float64 in the order of their numbers.
    """
    count = torch.bincount(label.flatten())
    hits = torch.bincount(label.flatten(), weights=inside.flatten().double(), minlength=len(count))
    return hits[count > 0] / count[count > 0]


def share_at_least(precision: Tensor, thresholds: Sequence[float]) -> list[float]:
    """For each threshold the share of regions that are at least so precise (Figure 4).

    Args:
        precision: ``(regions,)``.
        thresholds: In [0, 1].
    """
    return [float((precision >= threshold).double().mean()) for threshold in thresholds]
