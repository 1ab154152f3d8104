"""The leading eigenvectors of large symmetric matrices."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Of the residual |P v - value v|. A vector is wrong by this over the gap to the next value, on real maps some 0.002.
_TOLERANCE = 1e-6
# A product this short, of a matrix of norm 1 in float32, is what rounding left: the Krylov space is exhausted.
_ROUNDING = 1e-6
_MOST_STEPS = 512
# No ratio is farther from all fractions: its multiples fill an interval evenly.
_GOLDEN = (5**0.5 - 1) / 2


class Eigenpairs(NamedTuple):
    """Eigenvalues and eigenvectors, the largest first.

    Attributes:
        values: ``(B, K)``.
        vectors: ``(B, K, N)``, of length 1.
        converged: ``(B,)`` whether the residual of each of a matrix's pairs is small; the pairs of others mean nothing.
    """

    values: Tensor
    vectors: Tensor
    converged: Tensor


def exact_eigenpairs(matrix: Tensor, count: int) -> Eigenpairs:
    """The largest eigenvalues of dense symmetric matrices ``(B, N, N)``; K of N pairs a matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    done = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    return Eigenpairs(values[:, -count:].flip(1), vectors[:, :, -count:].flip(2).mT, done)


def lanczos_eigenpairs(matrix: Tensor, live: Tensor, count: int) -> Eigenpairs:
    """The largest eigenvalues by Lanczos iteration (1950) from fixed vectors, in float32.

    Each step multiplies one vector, and the product is kept at right angles to all before: the Krylov space of so few
    products holds the best polynomial filter of their number, Chebyshev's included. Where it is exhausted, as the
    copies of an eigenvalue make it, the iteration goes on from another vector.

    Args:
        matrix: ``(B, N, N)`` float32 symmetric, of norm at most 1. Of a single one on a CPU, where a product by half
            of it takes half the time, only the lower triangle is read.
        live: ``(B, N)`` bool. The others are left out; nothing may couple them to these.
        count: K, at most a quarter of the live nodes.
    """
    if len(matrix) == 1 and not matrix.is_cuda:
        return _single(matrix[0].numpy(), live[0], count)
    return _batch(matrix, live, count)


def _single(matrix: NDArray[np.float32], live: Tensor, count: int) -> Eigenpairs:
    from scipy.linalg.blas import ssymv

    size, nodes = len(matrix), int(live.sum())
    most = min(_MOST_STEPS, nodes)
    basis = np.empty((most + 1, size), np.float32)
    diagonal, beside = np.zeros(most), np.zeros(most)
    basis[0] = _unit(_start(live, 0).numpy())
    for step in range(most):
        known = basis[: step + 1]
        product = ssymv(1, matrix.T, basis[step])  # transposed: BLAS counts by columns
        diagonal[step] = basis[step] @ product
        # The two large overlaps first; what one pass over all leaves of them would grow from step to step.
        product -= np.float32(diagonal[step]) * basis[step]
        if step:
            product -= np.float32(beside[step - 1]) * basis[step - 1]
        product -= (known @ product) @ known
        length = np.linalg.norm(product)
        if length > _ROUNDING:
            beside[step] = length
        else:
            product = _unit(_start(live, step + 1).numpy())
            for _ in range(2):
                product -= (known @ product) @ known
        basis[step + 1] = _unit(product)
        if _is_time(step + 1, most, count, every=8) and (
            inner := _converged(diagonal[: step + 1], beside[: step + 1], count)
        ):
            values, turn = inner
            vectors = torch.from_numpy(turn.T.astype(np.float32) @ known)
            return Eigenpairs(torch.from_numpy(values)[None], vectors[None], torch.ones(1, dtype=torch.bool))
    return Eigenpairs(torch.zeros(1, count), torch.zeros(1, count, size), torch.zeros(1, dtype=torch.bool))


def _converged(
    diagonal: NDArray[np.float64], beside: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """The leading eigenpairs of a tridiagonal matrix, if all are good."""
    from scipy.linalg import eigh_tridiagonal

    steps = len(diagonal)
    if steps < count:
        return None
    # The last pair alone takes a tenth of the time, and is nearly always the last to be good.
    for last, driver in ((steps - count, "stebz"), (steps - 1, "stemr")):
        values, inner = eigh_tridiagonal(
            diagonal, beside[:-1], select="i", select_range=(steps - count, last), lapack_driver=driver
        )
        if np.abs(beside[-1] * inner[-1]).max() > _TOLERANCE:
            return None
    return values[::-1].astype(np.float32), inner[:, ::-1]


def _batch(matrix: Tensor, live: Tensor, count: int) -> Eigenpairs:
    size = live.shape[1]
    most = min(_MOST_STEPS, size)
    basis = torch.zeros(len(matrix), most + 1, size, device=matrix.device)
    diagonal, beside = torch.zeros(2, len(matrix), most, dtype=torch.float64, device=matrix.device)
    following = _start(live, 0)[..., None]
    for step in range(most):
        basis[:, step] = (following / following.norm(dim=1, keepdim=True).clamp_min(_ROUNDING))[..., 0]
        known, last = basis[:, : step + 1], basis[:, step, :, None]
        product = matrix @ last
        diagonal[:, step] = (last * product).sum((1, 2))
        following = _outside(product, known)
        length = following.norm(dim=1)
        exhausted = length <= _ROUNDING
        beside[:, step] = torch.where(exhausted, 0, length)[:, 0]
        if bool(exhausted.any()):
            fresh = _outside(_start(live, step + 1)[..., None], known)
            following = torch.where(exhausted[..., None], fresh, following)
        if _is_time(step + 1, most, count, every=32):
            inner = torch.diag_embed(diagonal[:, : step + 1]) + torch.diag_embed(beside[:, :step], -1)
            values, turn = (x[..., -count:].flip(-1) for x in torch.linalg.eigh(inner))
            good = (beside[:, step, None] * turn[:, -1]).abs().amax(1) <= _TOLERANCE
            if bool(good.all()):
                break
    return Eigenpairs(values.float(), turn.mT.float() @ known, good)


def _is_time(steps: int, most: int, count: int, every: int) -> bool:
    """Whether the iteration looks if it is done."""
    return steps == most or (steps >= 3 * count + 24 and steps % every == 0)


def _start(live: Tensor, number: int) -> Tensor:
    """One of many spread-out vectors; an entry depends on how many live ones come before it, and not on padding."""
    place = live.cumsum(-1, dtype=torch.float64)
    return ((place * ((number + 1) * _GOLDEN)).frac() - 0.5).float() * live


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (x / max(float(np.linalg.norm(x)), _ROUNDING)).astype(np.float32, copy=False)


def _outside(x: Tensor, known: Tensor) -> Tensor:
    """What of ``(B, N, 1)`` lies outside of the rows of ``(B, n, N)``; twice is enough."""
    for _ in range(2):
        x = x - known.mT @ (known @ x)
    return x
