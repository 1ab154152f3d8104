"""The adaptive triplet loss: triplets are held against their own mean gap (adaptive triplet, section 2)."""

from typing import Literal, get_args

import torch
from torch import Tensor, distributed, nn

from retrieval_bench.errors import OptionError

MarginScope = Literal["epoch", "batch", "ema"]


class AdaptiveTripletLoss(nn.Module):
    """The mean of sigmoid(m - gap), where m is the mean gap of the triplets.

    m is a constant to the gradient. Were it not, equal shifts of all gaps would cancel: for gaps of 1 and 3 the slopes
    would be 0 and 0, and nothing would push the mean gap up; as a constant they are -0.098 each.

    Args:
        scope: Where m comes from. ``epoch`` (the paper: all training samples) keeps what ``refresh`` was told when the
            triplets were last chosen; ``batch`` takes the mean of each batch, over all processes; ``ema`` follows the
            batches' means in training, from the first of them or from what ``refresh`` was told.
        momentum: How much of the old margin ``ema`` keeps.

    Raises:
        OptionError: If there is no such scope, or the momentum is not in [0, 1).
    """

    margin: Tensor

    def __init__(self, scope: MarginScope = "epoch", *, momentum: float = 0.9) -> None:
        super().__init__()
        if scope not in get_args(MarginScope):
            raise OptionError(f"unknown margin_scope {scope!r}; known are {', '.join(get_args(MarginScope))}")
        if not 0 <= momentum < 1:
            raise OptionError(f"the margin's momentum is {momentum}; it should be at least 0 and below 1")
        self.scope, self.momentum = scope, momentum
        # Part of the state, so that a resumed run goes on with it; nan until it is known.
        self.register_buffer("margin", torch.tensor(torch.nan))

    @torch.no_grad()
    def refresh(self, gap: Tensor) -> None:
        """Take the mean of ``(t,)`` gaps, those of all triplets, as the margin."""
        self.margin.copy_(gap.mean())

    def forward(self, gap: Tensor) -> Tensor:
        """The loss of ``(t,)`` gaps, a scalar in (0, 1): 0.5 where every gap is the margin.

        Raises:
            ValueError: If the scope is ``epoch`` and nobody has called ``refresh``.
        """
        return torch.sigmoid(self._margin_of(gap.detach()) - gap).mean()

    @torch.no_grad()
    def _margin_of(self, gap: Tensor) -> Tensor:
        if self.scope == "epoch":
            if self.margin.isnan():
                raise ValueError("the margin is not known yet: call refresh with the gaps of all triplets first")
            return self.margin
        if self.scope == "ema" and not self.training:
            return torch.where(self.margin.isnan(), gap.mean(), self.margin)
        mean = _mean_over_processes(gap)
        if self.scope == "ema":
            mixed = self.momentum * self.margin + (1 - self.momentum) * mean
            mean = torch.where(self.margin.isnan(), mean, mixed)
        # Under "batch" the margin is only there to be looked at.
        if self.training:
            self.margin.copy_(mean)
        return mean


def _mean_over_processes(gap: Tensor) -> Tensor:
    total = torch.stack([gap.sum(), gap.new_tensor(float(len(gap)))])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
    return total[0] / total[1]
