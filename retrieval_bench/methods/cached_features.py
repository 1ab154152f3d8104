"""Features of a frozen network, described once: what a layer on top of it learns from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.losses.mining import Triplets
from retrieval_bench.methods.base import Batch, RetrievalMethod, gather
from retrieval_bench.retrieval.descriptors import Descriptors


@dataclass(frozen=True)
class CachedFeatures:
    """One feature an image, the same on every process.

    Attributes:
        feature: ``(n, d)`` float32.
        image: ``(n,)`` int64 rows of the sample table, ascending.
        label: ``(n,)`` int64 training class, -1 of images that are not trained on.
    """

    feature: Tensor
    image: Tensor
    label: Tensor

    @cached_property
    def trained(self) -> Tensor:
        """``(t, d)`` the features that are trained on."""
        return self.feature[self.label >= 0]

    @cached_property
    def trained_label(self) -> Tensor:
        """``(t,)`` their classes."""
        return self.label[self.label >= 0]


@torch.no_grad()
def cache_features(method: RetrievalMethod, feature: Callable[[Tensor], Tensor], data: Any) -> CachedFeatures:
    """Features of all pictures, trained on or evaluated, as they are evaluated.

    Args:
        method: Its trainer describes them.
        feature: Makes ``(B, d)`` of pictures ``(B, 3, H, W)``.
        data: The datamodule.
    """
    rows = np.union1d(np.flatnonzero(data.training_labels >= 0), data.evaluation_rows)
    shards, was_training = [], method.training
    method.eval()
    for batch in data.picture_dataloader(rows):
        prepared = data.prepared(batch, method.device)
        with method.trainer.precision_plugin.forward_context():
            shards.append(Descriptors(feature(prepared["image"]), prepared["index"]).cpu())
    method.train(was_training)
    every = Descriptors.merge(gather(shards))
    label = torch.from_numpy(data.training_labels[every.image.numpy()])
    return CachedFeatures(*(x.to(method.device) for x in (every.data, every.image, label)))


class TripletBatches:
    """Batches of triplets, in an order drawn anew each epoch; every process sees its own share.

    Args:
        triplets: Gives the triplets when an epoch starts; their number must not change.
        epoch: Gives the epoch when it starts.
        count: How many triplets there are.
        batch_size: Triplets in a batch of one process.
        seed: Chooses the order, together with the epoch.
        rank: Which process this is.
        world_size: Of how many.

    Raises:
        OptionError: If not even one triplet comes to every process.
    """

    def __init__(
        self,
        triplets: Callable[[], Triplets],
        epoch: Callable[[], int],
        count: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or count < world_size:
            raise OptionError(
                f"batches of {batch_size} triplets cannot be made for {world_size} processes from {count} triplets: "
                "triplets_per_batch must be at least 1, and each process needs a triplet"
            )
        self._triplets, self._epoch = triplets, epoch
        self._share, self._size = count // world_size, batch_size
        self._seed, self._rank, self._world = seed, rank, world_size

    def __len__(self) -> int:
        return -(-self._share // self._size)

    def __iter__(self) -> Iterator[Batch]:
        triplets = self._triplets()
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch())
        order = torch.randperm(len(triplets.anchor), generator=chance)
        mine = order[self._rank :: self._world][: self._share].to(triplets.anchor.device)
        for chosen in torch.split(mine, self._size):
            yield {name: rows[chosen] for name, rows in triplets._asdict().items()}
