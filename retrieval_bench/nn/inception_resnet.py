"""The residual block C of Inception-ResNet-v2, to be put behind any trunk."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import OptionError

# Channels at width 1 (Szegedy et al., 2017, figure 19): branch a, then the three convolutions of branch b.
_WIDTHS = (192, 192, 224, 256)
_BATCH_NORM_EPS = 1e-3


class ConvNormReLU(nn.Sequential):
    """A convolution that keeps the size of its map, batch norm and ReLU.

    Args:
        channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Height and width, both odd.
    """

    def __init__(self, channels: int, out_channels: int, kernel_size: tuple[int, int]) -> None:
        height, width = kernel_size
        conv = nn.Conv2d(channels, out_channels, kernel_size, padding=(height // 2, width // 2), bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS), nn.ReLU())


class InceptionResNetC(nn.Module):
    """relu(x + scale * up([a(x), b(x)])): one 1x1 branch, and one that sees 3x3 cells as 1x3 and 3x1.

    Adaptive triplet, section 1, puts one such block behind ResNet18 (ResNet18-I): 729,280 parameters at width 1.

    Args:
        channels: Channels of the map, of any trunk.
        width: How wide the branches are, as a share of the published 192, 192, 224 and 256 channels.
        scale: The weight of what is added (0.2 in Inception-ResNet-v2).

    Raises:
        OptionError: If the width leaves a branch without channels.
    """

    def __init__(self, channels: int, *, width: float = 1.0, scale: float = 0.2) -> None:
        super().__init__()
        a, b1, b2, b3 = (round(width * full) for full in _WIDTHS)
        if a < 1:
            raise OptionError(f"irc_width {width} leaves no channels in the Inception block: give at least 0.01")
        self.scale = scale
        self.branch_a = ConvNormReLU(channels, a, (1, 1))
        self.branch_b = nn.Sequential(
            ConvNormReLU(channels, b1, (1, 1)),
            ConvNormReLU(b1, b2, (1, 3)),
            ConvNormReLU(b2, b3, (3, 1)),
        )
        self.up = nn.Conv2d(a + b3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The map with the block's view of it added, ``(B, C, H, W)``, never negative."""
        views = torch.cat([self.branch_a(x), self.branch_b(x)], 1)
        return F.relu(x + self.scale * self.up(views))
