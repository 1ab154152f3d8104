"""Global poolings: from a map to a vector."""

from typing import Literal, get_args

from torch import Tensor

Pool = Literal["max", "sum", "avg"]


def pool(x: Tensor, how: Pool = "max") -> Tensor:
    """Pool a map over all its cells.

    Args:
        x: ``(B, C, H, W)``.
        how: ``max``, ``sum`` or ``avg``.

    Returns:
        ``(B, C)``.

    Raises:
        ValueError: If there is no such pooling.
    """
    if how == "max":
        return x.amax((-2, -1))
    if how == "sum":
        return x.sum((-2, -1))
    if how == "avg":
        return x.mean((-2, -1))
    raise ValueError(f"unknown pooling {how!r}; known are {', '.join(get_args(Pool))}")
