"""Triplets: how far a positive and a negative lie from their anchor, and the loss with a fixed margin."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import OptionError

Distance = Literal["euclidean", "squared", "unit"]

# Keeps the slope of the root finite where two embeddings are the same.
_EPS = 1e-12


def check_distance(distance: str) -> None:
    """Refuse a distance that is not known.

    Raises:
        OptionError: Naming those that are.
    """
    if distance not in get_args(Distance):
        raise OptionError(f"unknown distance {distance!r}; known are {', '.join(get_args(Distance))}")


def triplet_gap(anchor: Tensor, positive: Tensor, negative: Tensor, distance: Distance = "euclidean") -> Tensor:
    """How much farther the negative is than the positive: d(a, n) - d(a, p).

    Args:
        anchor: ``(t, d)`` embeddings.
        positive: ``(t, d)`` embeddings of the anchors' classes.
        negative: ``(t, d)`` embeddings of other classes.
        distance: ``euclidean``, ``squared`` (the same without its root), or ``unit`` (Euclidean after each embedding
            is brought to length 1).

    Returns:
        ``(t,)`` float32, or float64 where the embeddings are.

    Raises:
        OptionError: If there is no such distance.
    """
    check_distance(distance)
    return _distance(anchor, negative, distance) - _distance(anchor, positive, distance)


class TripletLoss(nn.Module):
    """The mean of max(0, margin - gap) (Schroff et al., 2015), the ablation of adaptive triplet.

    Args:
        margin: The gap from which on a triplet costs nothing, in the units of the gaps.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, gap: Tensor) -> Tensor:
        """The loss of ``(t,)`` gaps, a scalar."""
        return F.relu(self.margin - gap).mean()


def _distance(a: Tensor, b: Tensor, distance: Distance) -> Tensor:
    if a.dtype != torch.float64:
        a, b = a.float(), b.float()
    if distance == "unit":
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    squared = (a - b).square().sum(1)
    return squared if distance == "squared" else (squared + _EPS).sqrt()
