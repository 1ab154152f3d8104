"""Features moved towards their like before they are quantised (UDQ, section 3.4)."""

from typing import Literal, get_args

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.kmeans import kmeans
from retrieval_bench.retrieval.similarity import unreduced_float32

Refinement = Literal["none", "bfr", "pbr", "cbr"]
_ROWS_AT_ONCE, _COLUMNS_AT_ONCE = 1024, 2**15


def check_refinement(refinement: str) -> None:
    """Refuse a refinement that is not known.

    Raises:
        OptionError: Naming those that are.
    """
    if refinement not in get_args(Refinement):
        raise OptionError(f"unknown refinement {refinement!r}; known are {', '.join(get_args(Refinement))}")


def refine(
    x: Tensor, refinement: Refinement, *, neighbours: int | None = None, clusters: int = 1000, seed: int = 0
) -> Tensor:
    """Features as the paper refines them.

    Args:
        x: ``(n, d)`` float32.
        refinement: ``bfr``, ``pbr`` and ``cbr`` as the functions of these names; ``none`` leaves them as they are.
        neighbours: S; by default the paper's 10 for ``bfr`` and 50 for ``pbr``.
        clusters: Of k-means. Not in the paper.
        seed: Of k-means.
    """
    if refinement == "bfr":
        return bfr(x, 10 if neighbours is None else neighbours)
    if refinement == "none":
        return x
    centres, owner = kmeans(x, clusters, seed=seed)
    return cbr(x, centres, owner) if refinement == "cbr" else pbr(x, owner, 50 if neighbours is None else neighbours)


def bfr(x: Tensor, neighbours: int) -> Tensor:
    """The mean of each feature and its nearest ones in the whole set.

    Args:
        x: ``(n, d)`` float32.
        neighbours: S; where there are not so many others, all of them.
    """
    kept = min(neighbours, len(x) - 1)
    if kept < 1:
        return x.clone()
    refined = torch.empty_like(x)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        refined[rows] = (x[rows] + x[_nearest_others(x, start, kept)].sum(1)) / (kept + 1)
    return refined


def pbr(x: Tensor, owner: Tensor, neighbours: int) -> Tensor:
    """``bfr`` inside each cluster alone.

    Args:
        x: ``(n, d)`` float32.
        owner: ``(n,)`` the cluster of each feature.
        neighbours: S.
    """
    refined = torch.empty_like(x)
    for members in torch.split(torch.argsort(owner, stable=True), owner.bincount().tolist()):
        refined[members] = bfr(x[members], neighbours)
    return refined


def cbr(x: Tensor, centres: Tensor, owner: Tensor) -> Tensor:
    """The middle between each feature and the centre of its cluster.

    Args:
        x: ``(n, d)`` float32.
        centres: ``(K, d)``.
        owner: ``(n,)`` the cluster of each feature.
    """
    return (x + centres[owner]) / 2


def _nearest_others(x: Tensor, start: int, count: int) -> Tensor:
    """``(rows, count)`` the nearest other features of a block of rows, kept in a running list."""
    block = x[start : start + _ROWS_AT_ONCE]
    row = torch.arange(len(block), device=x.device)
    distance = x.new_empty((len(block), 0))
    place = row.new_empty((len(block), 0))
    for first in range(0, len(x), _COLUMNS_AT_ONCE):
        columns = x[first : first + _COLUMNS_AT_ONCE]
        with unreduced_float32(x.device):
            tile = torch.addmm(columns.square().sum(1), block, columns.T, alpha=-2)
        own = row + start - first
        here = (own >= 0) & (own < len(columns))
        tile[row[here], own[here]] = torch.inf
        near = tile.topk(min(count, len(columns)), largest=False)
        distance, place = torch.cat([distance, near.values], 1), torch.cat([place, near.indices + first], 1)
        best = distance.topk(min(count, distance.shape[1]), largest=False).indices
        distance, place = distance.gather(1, best), place.gather(1, best)
    return place
