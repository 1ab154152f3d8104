"""Global poolings: from a map to a vector."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from retrieval_bench.errors import OptionError

Pool = Literal["max", "sum", "avg"]


def pool(x: Tensor, how: Pool = "max") -> Tensor:
    """Pool a map over all its cells.

    Args:
        x: ``(B, C, H, W)``.
        how: ``max``, ``sum`` or ``avg``.

    Returns:
        ``(B, C)``.

    Raises:
        OptionError: If there is no such pooling.
    """
    if how == "max":
        return x.amax((-2, -1))
    if how == "sum":
        return x.sum((-2, -1))
    if how == "avg":
        return x.mean((-2, -1))
    raise OptionError(f"unknown pooling {how!r}; known are {', '.join(get_args(Pool))}")


def spoc(x: Tensor, *, centre_prior: bool = False) -> Tensor:
    """Sum a map over its cells (SPoC; Babenko and Lempitsky, ICCV 2015, section 3.2).

    Args:
        x: ``(B, C, H, W)``.
        centre_prior: Whether cells weigh less the farther they are from the centre: a Gaussian whose deviation is a
            third of the way from the centre to the nearest edge.

    Returns:
        ``(B, C)``.
    """
    if not centre_prior:
        return pool(x, "sum")
    height, width = x.shape[-2:]
    y = torch.arange(height, device=x.device, dtype=torch.float32) + 0.5 - height / 2
    x_ = torch.arange(width, device=x.device, dtype=torch.float32) + 0.5 - width / 2
    deviation = min(height, width) / 6
    weight = torch.exp(-(y[:, None] ** 2 + x_**2) / (2 * deviation**2))
    return (x * weight.to(x.dtype)).sum((-2, -1))


def gem(x: Tensor, p: Tensor | float = 3.0, *, eps: float = 1e-6) -> Tensor:
    """The generalised mean over a map's cells (Radenovic et al., TPAMI 2019, equation 3): p = 1 is the mean.

    Args:
        x: ``(B, C, H, W)``; what is below ``eps`` counts as ``eps``.
        p: The power, one for all channels; the greater, the nearer to the maximum.
        eps: Keeps the gradient of roots finite.

    Returns:
        ``(B, C)``.
    """
    # Half precision ends at 65504, which the third power of 41 passes.
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return wide.clamp(min=eps).pow(p).mean((-2, -1)).pow(1 / p).to(x.dtype)


class MAC(nn.Module):
    """Maximum activations of convolutions: ``(B, C, H, W)`` to ``(B, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return pool(x, "max")


class SPoC(nn.Module):
    """Sum-pooled convolutions: ``(B, C, H, W)`` to ``(B, C)``; see ``spoc``."""

    def __init__(self, centre_prior: bool = False) -> None:
        super().__init__()
        self.centre_prior = centre_prior

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return spoc(x, centre_prior=self.centre_prior)


class GeM(nn.Module):
    """Generalised-mean pooling with a power that may be learned: ``(B, C, H, W)`` to ``(B, C)``; see ``gem``."""

    p: Tensor

    def __init__(self, p: float = 3.0, *, learned: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        if p <= 0:
            raise OptionError(f"the power of generalised-mean pooling must be greater than 0, not {p}")
        self.eps = eps
        power = torch.tensor([p])
        if learned:
            self.p = nn.Parameter(power)
        else:
            self.register_buffer("p", power)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return gem(x, self.p, eps=self.eps)
