"""Attention on maps: grid attention gated by a coarse map, and squeeze-and-excitation."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import OptionError

AttentionNorm = Literal["sigmoid", "softmax"]

# So that attention starts near 0.95 and the pretrained signal passes.
_OPEN_GATE = 3.0


class GridAttention(nn.Module):
    """Additive attention of every cell of a local map, gated by a coarser map (Schlemper et al., 2019).

    alpha = sigmoid(psi . relu(W_l x + W_g g + b_g) + b_psi), as ABIR, section 2.2, uses it.

    Args:
        channels: Channels of the local map.
        gate_channels: Channels of the gate.
        attention_dim: Channels of the space both are added in.
        norm: ``sigmoid`` weighs each cell by itself; with ``softmax`` the weights of a map sum to 1.

    Raises:
        OptionError: If there is no such norm.
    """

    def __init__(
        self, channels: int, gate_channels: int, attention_dim: int = 512, norm: AttentionNorm = "sigmoid"
    ) -> None:
        super().__init__()
        if norm not in get_args(AttentionNorm):
            raise OptionError(f"unknown attention norm {norm!r}; known are {', '.join(get_args(AttentionNorm))}")
        self.norm = norm
        self.local = nn.Conv2d(channels, attention_dim, 1, bias=False)
        self.gate = nn.Conv2d(gate_channels, attention_dim, 1)
        self.psi = nn.Conv2d(attention_dim, 1, 1)
        for conv in (self.local, self.gate, self.psi):
            nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]  # it has a bias
        nn.init.constant_(self.psi.bias, _OPEN_GATE)  # type: ignore[arg-type]

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Weights of the cells.

        Args:
            x: ``(B, C, H, W)`` the local map.
            gate: ``(B, G, h, w)`` the coarse map; ``(B, G, 1, 1)`` is a vector for all cells.

        Returns:
            ``(B, 1, H, W)`` in (0, 1).
        """
        # A 1x1 convolution and bilinear interpolation commute: convolving the small map first costs less.
        coarse = F.interpolate(self.gate(gate), x.shape[-2:], mode="bilinear", align_corners=False)
        score = self.psi(F.relu(self.local(x) + coarse))
        if self.norm == "sigmoid":
            return torch.sigmoid(score)
        return F.softmax(score.flatten(2), dim=2).view_as(score)


class SqueezeExcitation(nn.Module):
    """Weigh the channels of a map by what the whole map holds (Hu et al., 2018).

    Args:
        channels: Channels of the map.
        reduction: How much narrower the bottleneck is; 16 is the default of the cited paper.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        for linear in (self.squeeze, self.excite):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)

    def excitation(self, x: Tensor) -> Tensor:
        """Weights of the channels: ``(B, C, H, W)`` to ``(B, C)`` in (0, 1)."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((-2, -1))))))

    def forward(self, x: Tensor) -> Tensor:
        """The map with its channels weighed, ``(B, C, H, W)``."""
        return x * self.excitation(x)[..., None, None]
