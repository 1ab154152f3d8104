"""Affinities between a map's cells, and the matrix of the normalised cut (with the conventions of Shi's Ncut_9)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_bench.nn.spectral import Panel, matmul, multiply

Affinity = Literal["gaussian", "laplace"]

_SCALE = 0.05  # z, of the greatest distance
_CUTOFF = 1e-6
OFFSET = 0.5
# How far affinities reach, of the greatest distance: 0.18585 and 0.3454.
_REACH = {"gaussian": _SCALE * math.sqrt(-math.log(_CUTOFF)), "laplace": _SCALE * -math.log(_CUTOFF) / 2}
_PANELS = 4


@dataclass(frozen=True)
class Cells:
    """The cells of B images.

    Attributes:
        features: ``(B, N, C)`` float64, weighted, their greatest range 1; all 0 where all cells are equal.
        places: ``(B, N, 2)`` over their scale, or None.
        live: ``(B, N)`` bool, False for padding.
    """

    features: Tensor
    places: Tensor | None
    live: Tensor

    @classmethod
    def of(
        cls, features: Tensor, weights: Tensor | None, live: Tensor, spatial: tuple[Tensor, float] | None
    ) -> "Cells":
        """Weight and scale features; the arguments are those of ``normalized_cut``."""
        wide = features.detach().double()
        low = torch.where(live[..., None], wide, torch.inf).amin(1, keepdim=True)
        high = torch.where(live[..., None], wide, -torch.inf).amax(1, keepdim=True)
        root = torch.ones(1) if weights is None else (weights.double() / weights.double().sum()).sqrt()
        root = root.to(wide.device)
        spread = ((high - low) * root).amax(2, keepdim=True)
        scaled = (wide - (low + high) / 2) * root / torch.where(spread > 0, spread, torch.inf)
        places = None if spatial is None else spatial[0].detach().double() / spatial[1]
        return cls(torch.where(live[..., None], scaled, 0), places, live)

    def images(self, which: list[int]) -> "Cells":
        """Some of the images."""
        return Cells(self.features[which], None if self.places is None else self.places[which], self.live[which])

    def without_padding(self, image: int) -> "Cells":
        """One image's live cells."""
        live = self.live[image]
        places = None if self.places is None else self.places[image, live][None]
        return Cells(self.features[image, live][None], places, live[live][None])

    def twins(self) -> tuple[Tensor, Tensor]:
        """``(B, N)`` for each cell the first one equal to it, and ``(B,)`` how many different ones are no padding."""
        x = self.features if self.places is None else torch.cat([self.features, self.places], 2)
        # No two different rows of numbers fall on one value, as sines of whole numbers have no common measure.
        key = (x * torch.arange(1, x.shape[2] + 1, device=x.device, dtype=x.dtype).sin()).sum(2)
        key, order = torch.where(self.live, key, torch.inf).sort(dim=1, stable=True)
        starts = torch.cat([torch.ones_like(self.live[:, :1]), key[:, 1:] != key[:, :-1]], 1)
        place = torch.arange(key.shape[1], device=x.device)
        first = order.gather(1, torch.where(starts, place, 0).cummax(1).values)
        return torch.empty_like(order).scatter_(1, order, first), (starts & (key < torch.inf)).sum(1)

    def ordered(self, order: Tensor) -> "Cells":
        """The cells in another order ``(B, N)``."""

        def gather(x: Tensor) -> Tensor:
            return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))

        places = None if self.places is None else gather(self.places)
        return Cells(gather(self.features), places, self.live.gather(1, order))


def affinity_matrix(
    features: Tensor,
    weights: Tensor | None = None,
    *,
    affinity: Affinity = "gaussian",
    spatial: tuple[Tensor, float] | None = None,
) -> Tensor:
    """Affinities S between the cells of one image, in float64; the arguments are those of ``normalized_cut``.

    Args:
        features: ``(N, C)``, not all equal.
        weights: ``(C,)`` or None.
        affinity: ``gaussian`` or ``laplace``.
        spatial: ``(N, 2)`` places and their scale, or None.

    Returns:
        ``(N, N)`` in 0..1, symmetric, 0 where below 1e-6.
    """
    live = torch.ones(1, len(features), dtype=torch.bool, device=features.device)
    places = None if spatial is None else (spatial[0][None], spatial[1])
    return exact_affinity(Cells.of(features[None], weights, live, places), affinity)


def normalized_affinity(affinity: Tensor) -> tuple[Tensor, Tensor]:
    """Ncut_9's matrix: degrees grow by twice the offset 0.5, the diagonal by the offset; then D^-1/2 S D^-1/2.

    Args:
        affinity: ``(N, N)`` S.

    Returns:
        ``(N, N)`` P and ``(N,)`` degrees D.
    """
    degree = affinity.sum(1) + 2 * OFFSET
    root = degree.rsqrt()
    return (affinity + OFFSET * torch.eye(len(affinity)).to(affinity)) * root[:, None] * root, degree


def exact_affinity(cells: Cells, affinity: Affinity) -> Tensor:
    """``(N, N)`` affinities S of one image without padding, not all cells equal, in float64."""
    distance = _cdist(cells.features[0])
    distance = distance / (_SCALE * distance.max())
    exponent = distance.square() if affinity == "gaussian" else 2 * distance
    if cells.places is not None:
        exponent = exponent + _cdist(cells.places[0]).square()
    similarity = torch.exp(-exponent)
    return torch.where(similarity < _CUTOFF, 0, similarity)


def _cdist(x: Tensor) -> Tensor:
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def spread_order(cells: Cells) -> Tensor:
    """``(B, N)`` the cells along the feature of greatest range, padding last.

    In this order affinities lie near the diagonal, and the arithmetic is the same in whatever order the cells came.
    """
    widest = (cells.features.amax(1) - cells.features.amin(1)).argmax(1)
    key = cells.features.gather(2, widest[:, None, None].expand(-1, cells.live.shape[1], 1))[..., 0]
    return torch.where(cells.live, key, torch.inf).argsort(dim=1, stable=True)


def affinity_panels(cells: Cells, affinity: Affinity) -> tuple[list[Panel], Tensor]:
    """P in panels, and ``(B, N)`` degrees, of ordered cells."""
    # Padding is moved onto a cell, so as to leave the greatest distance alone. Laplace's root needs more digits.
    x = torch.where(cells.live[..., None], cells.features, cells.features[:, :1])
    squares = _squared_distances(x if affinity == "laplace" else x.float())
    greatest = squares.amax((1, 2), keepdim=True)
    scale = _SCALE * torch.where(greatest > 0, greatest, 1).sqrt()
    apart = None if cells.places is None else _squared_distances(cells.places)
    panels = []
    for rows, columns in _blocks(x, greatest, affinity):
        part = squares[:, rows, columns]
        exponent = part * -(scale**-2) if affinity == "gaussian" else part.clamp_min(0).sqrt() * (-2 / scale)
        if apart is not None:
            exponent -= apart[:, rows, columns]
        values = F.threshold(exponent.exp_(), _CUTOFF, 0, inplace=True).float()
        _diagonal(values, rows, columns).fill_(1)
        panels.append(Panel(rows, columns, values))
    live = cells.live.float()
    degree = multiply(panels, live[:, None])[:, 0] + 2 * OFFSET
    root = degree.rsqrt() * live
    for rows, columns, values in panels:
        values.mul_(root[:, rows, None]).mul_(root[:, None, columns])
        _diagonal(values, rows, columns).add_(OFFSET * root[:, columns] ** 2)
    return panels, degree


def _blocks(x: Tensor, greatest: Tensor, affinity: Affinity) -> list[tuple[slice, slice]]:
    """Rows and columns of the panels; the rows left out are farther than affinities reach along one feature alone."""
    size = x.shape[1]
    if len(x) > 1 or x.is_cuda:
        return [(slice(0, size), slice(0, size))]
    # The feature that the cells are ordered by.
    key = x[0, :, int((x[0, -1] - x[0, 0]).argmax())].contiguous()
    # A thousandth more than the reach: distances in float32 may be that wrong.
    reach = 1.001 * _REACH[affinity] * greatest.double().sqrt().flatten()
    edges = [size * i // _PANELS for i in range(_PANELS + 1)]
    first, last = key[edges[:-1]] - reach, key[[edge - 1 for edge in edges[1:]]] + reach
    low, high = torch.searchsorted(key, first).tolist(), torch.searchsorted(key, last, right=True).tolist()
    return [(slice(a, b), slice(c, d)) for a, b, c, d in zip(low, high, edges, edges[1:], strict=False)]


def _squared_distances(x: Tensor) -> Tensor:
    length, one = x.square().sum(2, keepdim=True), torch.ones_like(x[..., :1])
    return matmul(torch.cat([-2 * x, length, one], 2), torch.cat([x, one, length], 2).mT)


def _diagonal(values: Tensor, rows: slice, columns: slice) -> Tensor:
    return values[:, columns.start - rows.start : columns.stop - rows.start].diagonal(dim1=1, dim2=2)
