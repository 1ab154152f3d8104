"""Affinities between a map's cells, and the matrix of the normalised cut (with the conventions of Shi's Ncut_9)."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Affinity = Literal["gaussian", "laplace"]

_SCALE = 0.05  # z, of the greatest distance
_CUTOFF = 1e-6
OFFSET = 0.5
_BAND = 128


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
    return exact_affinity(Cells.of(features[None], weights, live, places), affinity)[0]


def exact_affinity(cells: Cells, affinity: Affinity) -> Tensor:
    """``(B, N, N)`` affinities S in float64 of images that are not flat; padding has none, not even with itself."""
    # Moved onto a cell, padding leaves the greatest distance alone.
    distance = _cdist(torch.where(cells.live[..., None], cells.features, cells.features[:, :1]))
    distance = distance / (_SCALE * distance.amax((1, 2), keepdim=True))
    exponent = distance.square() if affinity == "gaussian" else 2 * distance
    if cells.places is not None:
        exponent = exponent + _cdist(cells.places).square()
    similarity = torch.exp(-exponent)
    present = (similarity >= _CUTOFF) & cells.live[:, :, None] & cells.live[:, None]
    return torch.where(present, similarity, 0)


def normalized_affinity(affinity: Tensor) -> tuple[Tensor, Tensor]:
    """Ncut_9's matrix: degrees grow by twice the offset 0.5, the diagonal by the offset; then D^-1/2 S D^-1/2.

    Args:
        affinity: ``(..., N, N)`` S.

    Returns:
        ``(..., N, N)`` P and ``(..., N)`` degrees D.
    """
    degree = affinity.sum(-1) + 2 * OFFSET
    root = degree.rsqrt()
    matrix = (affinity + OFFSET * torch.eye(affinity.shape[-1]).to(affinity)) * root[..., :, None] * root[..., None, :]
    return matrix, degree


def fast_matrix(cells: Cells, affinity: Affinity) -> tuple[Tensor, Tensor]:
    """``normalized_affinity`` of cells in float32; of a single image on a CPU only P's lower triangle is right."""
    if len(cells.live) > 1 or cells.features.is_cuda:
        matrix, degree = normalized_affinity(exact_affinity(cells, affinity))
        return matrix.float(), degree.float()
    from scipy.linalg.blas import ssymv

    lower = _lower_affinity(cells, affinity)
    degree = ssymv(1, lower.T, np.ones(len(lower), np.float32)) + np.float32(2 * OFFSET)
    root = 1 / np.sqrt(degree)
    lower *= root
    lower *= root[:, None]
    np.fill_diagonal(lower, (1 + OFFSET) / degree)
    return torch.from_numpy(lower)[None], torch.from_numpy(degree)[None]


def _lower_affinity(cells: Cells, affinity: Affinity) -> NDArray[np.float32]:
    """``exact_affinity`` of one image without padding, rounded to float32, and zeros above the diagonal's blocks."""
    x = _factors(cells.features[0].numpy())
    places = None if cells.places is None else _factors(cells.places[0].numpy())
    size = len(x[0])
    lower = np.zeros((size, size), np.float32)
    # Bands of rows that stay in the cache, up to the diagonal.
    bands = [(slice(i, i + _BAND), slice(0, i + _BAND)) for i in range(0, size, _BAND)]
    for rows, columns in bands:
        np.matmul(x[0][rows], x[1][:, columns], out=lower[rows, columns], casting="same_kind")
    # Rounding may leave less than 0 where cells are equal.
    scale = _SCALE * math.sqrt(lower.max())
    for band in bands:
        part = lower[band]
        if affinity == "gaussian":
            part *= -(scale**-2)
        else:
            np.sqrt(np.maximum(part, 0, out=part), out=part)
            part *= -2 / scale
        if places is not None:
            part -= places[0][band[0]] @ places[1][:, band[1]]
        # Torch takes ten times as long where exponentials vanish.
        np.exp(part, out=part)
        part *= part >= _CUTOFF
    np.fill_diagonal(lower, 1)
    return lower


def _factors(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two matrices whose product holds the squared distances between rows."""
    length, one = np.square(x).sum(1, keepdims=True), np.ones((len(x), 1))
    return np.concatenate([-2 * x, length, one], 1), np.concatenate([x, one, length], 1).T


def _cdist(x: Tensor) -> Tensor:
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def spread_order(cells: Cells) -> Tensor:
    """``(B, N)`` the cells along the feature of greatest range, padding last: an order that knows not where cells lie.

    What is worked out in it is the same in whatever order the cells came.
    """
    widest = (cells.features.amax(1) - cells.features.amin(1)).argmax(1)
    key = cells.features.gather(2, widest[:, None, None].expand(-1, cells.live.shape[1], 1))[..., 0]
    return torch.where(cells.live, key, torch.inf).argsort(dim=1, stable=True)
