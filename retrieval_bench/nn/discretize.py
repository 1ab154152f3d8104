"""From eigenvectors of a normalised cut to labels."""

import torch
from torch import Tensor

_PASSES = 20
# The mean square of a row is K. Eigenvectors in float32 know the direction of no shorter one.
_EMPTY_ROW = 1e-4
_EMPTY_CLUSTER = 1e-6


def discretize(vectors: Tensor, first: Tensor, live: Tensor) -> Tensor:
    """Rotate eigenvectors until each cell lies near an axis, and label cells by axes (Yu and Shi, ICCV 2003).

    Cells and rotation are found in turn, at most 20 times. Where Ncut_9 leaves labels to rounding, they are settled:

    * A cell with next to no part in the eigenvectors (a row shorter than 1e-4) gets label 0, and has no say. Ncut_9
      divides the row by its length, be it 0, and may start from it; so labels differ from its own where there are such.
    * The axis of an empty cluster, whose sign the SVD leaves open, keeps the side on which it was.
    * The loop ends when no label changes. The objective, which Ncut_9 compares to the last digit, stands still then.

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
        new = torch.where(done, labels, (rotation.mT @ rows).max(1).indices)
        done = (new == labels).all(1, keepdim=True)
        labels = new
        if bool(done.all()):
            break
        chosen = torch.zeros_like(rows).scatter_(1, labels[:, None], 1)
        moments = (chosen @ rows.mT).double()
        moments += _EMPTY_CLUSTER * rotation.mT * ~chosen.any(2, keepdim=True)
        left, _, right = torch.linalg.svd(moments)
        rotation = (left @ right).mT.to(rows)
    return torch.where(live, labels, 0)


def _start(rows: Tensor, first: Tensor, live: Tensor) -> Tensor:
    """Columns of the first rotation: a cell's row, then each time the row most at right angles to those before."""
    columns = [_row(rows, first)]
    overlap = torch.where(live, 0, torch.inf).to(rows.dtype)
    for _ in range(1, rows.shape[1]):
        overlap = overlap + (columns[-1][:, None] @ rows)[:, 0].abs()
        columns.append(_row(rows, overlap.argmin(1)))
    return torch.stack(columns, 2)


def _row(rows: Tensor, cell: Tensor) -> Tensor:
    return rows.gather(2, cell[:, None, None].expand(-1, rows.shape[1], 1))[..., 0]
