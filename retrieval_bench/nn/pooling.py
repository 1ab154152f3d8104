"""Global poolings: from a map to a vector."""

from typing import Literal, get_args

from torch import Tensor

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
