"""The leading eigenvectors of large symmetric matrices that are mostly zero far from their diagonal."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 4
_TOLERANCE = 1e-3
_MOST_VECTORS = 512
# A direction this short, of a matrix of norm 1 in float32, is what rounding left.
_ROUNDING = 1e-5


class Panel(NamedTuple):
    """Some columns of symmetric matrices, without the rows that are zero in all of them.

    Attributes:
        rows: Which rows are kept.
        columns: Which columns these are.
        values: ``(B, rows, columns)``.
    """

    rows: slice
    columns: slice
    values: Tensor


class Eigenpairs(NamedTuple):
    """Eigenvalues and eigenvectors, the largest first.

    Attributes:
        values: ``(B, K)``.
        vectors: ``(B, K, N)``, of length 1.
        converged: ``(B,)`` whether the residual of each of a matrix's pairs is small.
    """

    values: Tensor
    vectors: Tensor
    converged: Tensor


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of two batches of matrices; for a batch of one by the better tuned kernels of a single product."""
    return (a[0] @ b[0])[None] if len(a) == 1 else a @ b


def multiply(panels: Sequence[Panel], x: Tensor) -> Tensor:
    """Rows times symmetric matrices.

    Args:
        panels: All columns of the B matrices.
        x: ``(B, b, N)``.

    Returns:
        ``(B, b, N)``.
    """
    product = torch.empty_like(x)
    for panel in panels:
        product[..., panel.columns] = matmul(x[..., panel.rows], panel.values)
    return product


def exact_eigenpairs(matrix: Tensor, count: int) -> Eigenpairs:
    """The largest eigenvalues of dense symmetric matrices ``(B, N, N)``; K of N pairs a matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    done = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    return Eigenpairs(values[:, -count:].flip(1), vectors[:, :, -count:].flip(2).mT, done)


def filtered_eigenpairs(panels: Sequence[Panel], live: Tensor, count: int) -> Eigenpairs:
    """The largest eigenvalues by block Lanczos iteration (Golub and Underwood, 1977) from fixed vectors, in float32.

    Each step multiplies four vectors by the matrix. The Krylov space they span holds the best polynomial filter of its
    degree, Chebyshev's included, so that it needs fewer products than iterating a filtered block. A pair is good when
    its residual ``|P v - value v|`` is at most 0.001; the iteration ends when all pairs are, at a step that depends
    on the matrix alone and not on its batch. An eigenvalue is found four times at most.

    Args:
        panels: The B symmetric matrices of norm at most 1, ``(B, N, N)``.
        live: ``(B, N)`` bool. The others are left out; nothing may couple them to these.
        count: K, at most a quarter of N.

    Returns:
        K pairs a matrix. Where the live part has no more than fewer, the rest are of value -1 and not converged.
    """
    batch, size = live.shape
    most = min(max(_MOST_VECTORS, 4 * count), size) // _BLOCK * _BLOCK
    basis = torch.zeros(batch, most, size, device=live.device)
    # The matrix in that basis; only its upper triangle is filled.
    projected = torch.zeros(batch, most, most, device=live.device)
    found = Eigenpairs(
        torch.full((batch, count), -1.0, device=live.device),
        torch.zeros(batch, count, size, device=live.device),
        torch.zeros(batch, dtype=torch.bool, device=live.device),
    )
    block, _ = _orthonormal(_start(live))
    check = count + 40
    for first in range(0, most, _BLOCK):
        used = first + _BLOCK
        basis[:, first:used] = block
        # An empty direction is none of the matrix's: its value must not rank above a small one.
        diagonal = projected[:, first:used, first:used].diagonal(dim1=1, dim2=2)
        diagonal -= (block == 0).all(2).float()
        recent = slice(max(0, first - _BLOCK), used)
        block, overlap = _without(multiply(panels, block), basis[:, recent])
        projected[:, recent, first:used] += overlap.mT
        block, scale = _orthonormal(block)
        # In exact arithmetic the block is at right angles to all others by now.
        block, _ = _without(block, basis[:, :used])
        if used < check and used < most:
            continue
        check = used + max(16, used // 5)
        found = _keep(found, projected[:, :used, :used], basis[:, :used], scale)
        if bool(found.converged.all()):
            break
    return found


def _without(block: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """What of the rows of a block lies outside of known directions, and their overlaps ``(B, block, known)``."""
    overlap = matmul(block, known.mT)
    return block - matmul(overlap, known), overlap


def _keep(found: Eigenpairs, projected: Tensor, basis: Tensor, scale: Tensor) -> Eigenpairs:
    """Take the pairs that the basis holds by now, for the matrices that were not done before."""
    count = found.values.shape[1]
    values, inner = torch.linalg.eigh(projected, UPLO="U")
    values, inner = values[:, -count:].flip(1), inner[:, :, -count:].flip(2)
    residual = matmul(inner[:, -_BLOCK:].mT, scale).norm(dim=2)
    good = ((residual <= _TOLERANCE) & (values > -0.5)).all(1) & ~found.converged
    if not bool(good.any()):
        return found
    return Eigenpairs(
        torch.where(good[:, None], values, found.values),
        torch.where(good[:, None, None], matmul(inner.mT, basis), found.vectors),
        found.converged | good,
    )


def _start(live: Tensor) -> Tensor:
    """Four spread-out vectors whose entries depend on their place alone, so that padding changes none."""
    place = torch.arange(1, live.shape[1] + 1, device=live.device, dtype=torch.float64)
    steps = torch.tensor([2, 3, 5, 7], device=live.device, dtype=torch.float64).sqrt()
    return ((steps[:, None] * place).frac() - 0.5).float() * live[:, None]


def _orthonormal(block: Tensor) -> tuple[Tensor, Tensor]:
    """Rows Q of length 1, or 0 where rounding is all there is, and L with ``L Q = block``."""
    wide = block.double()
    squares, turn = torch.linalg.eigh(matmul(wide, wide.mT))
    inverse = squares.clamp_min(_ROUNDING**2).rsqrt() * (squares > _ROUNDING**2)
    return matmul((turn * inverse[:, None]).mT, wide).float(), (turn * (squares * inverse)[:, None]).float()
