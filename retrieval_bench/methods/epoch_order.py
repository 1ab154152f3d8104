"""In which order cached things are learned from."""

from collections.abc import Callable

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError


class EpochOrder:
    """Numbers of cached things in batches, in an order drawn anew each epoch; every process sees its own share.

    Args:
        count: How many things there are.
        batch_size: Things in a batch of one process.
        epoch: Gives the epoch when it starts.
        thing: What one is called, in words.
        option: What the batch size is called.
        seed: Chooses the order, together with the epoch.
        rank: Which process this is.
        world_size: Of how many.

    Raises:
        OptionError: If not even one thing comes to every process.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epoch: Callable[[], int],
        *,
        thing: str,
        option: str,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        if batch_size < 1 or count < world_size:
            raise OptionError(
                f"batches of {batch_size} {thing}s cannot be made for {world_size} processes from {count} {thing}s: "
                f"{option} must be at least 1, and each process needs a {thing}"
            )
        self._count, self._size, self._epoch = count, batch_size, epoch
        self._seed, self._rank, self._world = seed, rank, world_size
        self._share = count // world_size

    def __len__(self) -> int:
        return -(-self._share // self._size)

    def batches(self, device: torch.device) -> tuple[Tensor, ...]:
        """The numbers ``(b,)`` int64 of each batch of this process in the epoch that starts now."""
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch())
        order = torch.randperm(self._count, generator=chance)
        return torch.split(order[self._rank :: self._world][: self._share].to(device), self._size)
