"""From eigenvectors of a normalised cut to labels."""

import torch
from torch import Tensor

from retrieval_bench.nn.spectral import matmul

_PASSES = 20
# The mean square of a row is K. What points a shorter one, of a cell that next to no eigenvector reaches, is rounding.
_EMPTY_ROW = 1e-3


def discretize(vectors: Tensor, first: Tensor, live: Tensor) -> Tensor:
    """Rotate eigenvectors until each cell lies near an axis, and label cells by axes (Yu and Shi, ICCV 2003).

    Cells and rotation are found in turn, at most 20 times, or until no label changes, when the objective stands still.
    A cell that takes part in no eigenvector gets label 0.

    Args:
        vectors: ``(B, K, N)``, each of length sqrt(N).
        first: ``(B,)`` the cell that the rotation starts from; one without a part in the eigenvectors gives way to the
            one with the greatest.
        live: ``(B, N)`` bool; other cells have no say.

    Returns:
        ``(B, N)`` int64 labels in 0..K-1; some of them may have no cell.
    """
    length = vectors.norm(dim=1)
    live = live & (length > _EMPTY_ROW)
    rows = torch.where(live[:, None], vectors / length.clamp_min(_EMPTY_ROW)[:, None], 0)
    rotation = _start(rows, torch.where(live.gather(1, first[:, None])[:, 0], first, length.argmax(1)), live)
    labels = torch.full_like(live, -1, dtype=torch.int64)
    done = torch.zeros(len(vectors), 1, dtype=torch.bool, device=vectors.device)
    for _ in range(_PASSES):
        new = torch.where(done, labels, matmul(rotation.mT, rows).max(1).indices)
        done = (new == labels).all(1, keepdim=True)
        labels = new
        if bool(done.all()):
            break
        chosen = torch.zeros_like(rows).scatter_(1, labels[:, None], 1)
        # Where to turn the axis of an empty cluster is open (Ncut_9 leaves it to rounding): as if a cell lay on it.
        moments = matmul(chosen, rows.mT) + rotation.mT * ~chosen.any(2, keepdim=True)
        left, _, right = torch.linalg.svd(moments)
        rotation = (left @ right).mT
    return torch.where(live, labels, 0)


def _start(rows: Tensor, first: Tensor, live: Tensor) -> Tensor:
    """Columns of the first rotation: a cell's row, then each time the row most at right angles to those before."""
    columns = [_row(rows, first)]
    overlap = torch.where(live, 0, torch.inf).to(rows.dtype)
    for _ in range(1, rows.shape[1]):
        overlap = overlap + matmul(columns[-1][:, None], rows)[:, 0].abs()
        columns.append(_row(rows, overlap.argmin(1)))
    return torch.stack(columns, 2)


def _row(rows: Tensor, cell: Tensor) -> Tensor:
    return rows.gather(2, cell[:, None, None].expand(-1, rows.shape[1], 1))[..., 0]
