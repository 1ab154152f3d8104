"""Binomial deviance on pairwise similarities (Ustinova & Lempitsky, 2016; Yi et al., 2014)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# How far a pair may lie on the right side of its hardest opponent and still count, after Deep_Metric.
_HARD_PAIR_MARGIN = 0.1


class BinomialDeviance(nn.Module):
    """softplus(-alpha (s - beta)) over positive pairs plus softplus(alpha c (s - beta)) over negative pairs.

    Each sum is averaged over its pairs. ABIR cites the loss without its constants: alpha = 2 and beta = 0.5 stand in
    all public codes; the weight of negatives is 25 in A-BIER's code and 10 in that of the histogram loss.

    Args:
        alpha: Steepness.
        beta: The similarity that parts positive from negative pairs.
        c: How much steeper the loss is for negative pairs.
        per_anchor: Average over the pairs of each anchor first, then over the anchors that have any, as Deep_Metric
            does; otherwise over all pairs.
        hard_pairs: Keep only negatives closer than the farthest positive of their anchor, and positives farther than
            its closest negative, both with a margin of 0.1.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 0.5,
        c: float = 25.0,
        *,
        per_anchor: bool = False,
        hard_pairs: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.c = alpha, beta, c
        self.per_anchor, self.hard_pairs = per_anchor, hard_pairs

    def forward(self, similarity: Tensor, label: Tensor) -> Tensor:
        """The loss of a batch, over all ordered pairs of different members.

        Args:
            similarity: ``(B, B)`` cosine similarities.
            label: ``(B,)`` classes.

        Returns:
            A float32 scalar; a kind of pair that the batch does not have adds nothing.
        """
        similarity = similarity.float()
        same = label[:, None] == label[None, :]
        itself = torch.eye(len(label), dtype=torch.bool, device=label.device)
        positive, negative = same & ~itself, ~same
        if self.hard_pairs:
            positive, negative = self._keep_hard(similarity.detach(), positive, negative)
        attract = F.softplus(-self.alpha * (similarity - self.beta))
        repel = F.softplus(self.alpha * self.c * (similarity - self.beta))
        return self._mean(attract, positive) + self._mean(repel, negative)

    def _mean(self, value: Tensor, pairs: Tensor) -> Tensor:
        """The mean over some pairs, 0 if there are none."""
        value = value.where(pairs, 0.0)
        if not self.per_anchor:
            return value.sum() / pairs.sum().clamp(min=1)
        count = pairs.sum(1)
        return (value.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)

    @staticmethod
    def _keep_hard(similarity: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        farthest_positive = similarity.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
        closest_negative = similarity.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
        return (
            positive & (similarity < closest_negative + _HARD_PAIR_MARGIN),
            negative & (similarity > farthest_positive - _HARD_PAIR_MARGIN),
        )
