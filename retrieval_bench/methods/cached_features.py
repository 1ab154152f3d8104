"""Features of a frozen network, described once: what a layer on top of it learns from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.losses.mining import Triplets
from retrieval_bench.methods.base import Batch, RetrievalMethod
from retrieval_bench.methods.epoch_order import EpochOrder
from retrieval_bench.methods.gathering import gather
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
    """Batches of triplets.

    Args:
        triplets: Gives the triplets when an epoch starts; their number must not change.
        order: Of the triplets.
    """

    def __init__(self, triplets: Callable[[], Triplets], order: EpochOrder) -> None:
        self._triplets, self._order = triplets, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        triplets = self._triplets()
        for chosen in self._order.batches(triplets.anchor.device):
            yield {name: rows[chosen] for name, rows in triplets._asdict().items()}
