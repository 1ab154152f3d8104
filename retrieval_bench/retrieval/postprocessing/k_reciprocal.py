"""Re-ranking by neighbourhoods: images are alike if those that they and that find them are the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.postprocessing.base import (
    PostProcessing,
    RetrievalState,
    Sources,
    find_nearest,
    similarity,
)

_PAIRS_AT_ONCE = 2**12


class KReciprocalReranking(PostProcessing):
    """Put the first images in the order of a distance between neighbourhoods (Zhong et al., CVPR 2017, section 3).

    The neighbourhood of an image is itself and those of its ``k1`` nearest that have it among theirs; to it are added
    the neighbourhoods, over half as many, of those in it whose own lie in it by two thirds. Each image in it weighs
    ``exp(-distance)``, all together 1, and weights are averaged over the image and its nearest, ``k2`` in all. The
    order is that of the Jaccard distance between neighbourhoods, mixed with the distance of descriptors.

    Two things are not as in the authors' code. The gallery's neighbourhoods are made without the queries, so that no
    query depends on another. And the distance is 1 less the dot product, half the squared distance of unit vectors;
    theirs is the squared one divided by each image's greatest, to find which takes all pairs.

    Args:
        k1: How many of the nearest can be neighbours.
        k2: Over how many images weights are averaged; 1 for not at all.
        distance_share: The share of the distance of descriptors, the paper's lambda.
        top: How many of each query's first images are put in a new order.

    Raises:
        OptionError: If one of them is out of its range.
    """

    def __init__(self, k1: int = 20, k2: int = 6, distance_share: float = 0.3, top: int = 5000) -> None:
        if not 1 <= k2 <= k1 or top < 1 or not 0 <= distance_share <= 1:
            raise OptionError(
                "k-reciprocal re-ranking needs k1 of at least k2, k2 and top of at least 1, and a distance_share from "
                f"0 to 1, got {k1}, {k2}, {top} and {distance_share}"
            )
        self.k1, self.k2, self.distance_share, self.top = k1, k2, distance_share, top

    @property
    def words(self) -> str:
        """What is done."""
        return f"re-ranking of the first {self.top:,} by {self.k1} reciprocal neighbours"

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Put the first images in a new order."""
        gallery, own = state.gallery.data, state.own
        near, score = find_nearest(gallery, gallery, np.arange(len(gallery)), self.k1, sources.device)
        mutual, narrow = (_mutual(near[:, :k]) for k in (self.k1, round(self.k1 / 2)))
        plain = _weights(_extended(mutual, narrow), gallery, gallery, np.zeros(len(gallery)))
        by_column = self._averaged(plain, plain, near).tocsc()

        found, reached = find_nearest(state.query.data, gallery, own, self.k1, sources.device)
        reciprocal = np.where(reached >= score[found, -1], found, -1)
        mine = _pairs(np.column_stack([own, reciprocal]), len(gallery))
        weights = _weights(_extended(mine, narrow), state.query.data, gallery, (own < 0).astype(np.float64))
        weights = self._averaged(weights, plain, found)
        places = state.nearest(self.top, sources.device)
        distance = np.zeros(places.shape)
        for i, (query, row) in enumerate(zip(state.query.data, places, strict=True)):
            at = row[row >= 0]
            jaccard = _jaccard(weights[[i]], by_column)[at]
            plainly = 1 - similarity(query, gallery[at]).numpy()
            distance[i, : len(at)] = (1 - self.distance_share) * jaccard + self.distance_share * plainly
        return replace(state, windows=None).reordered(places, torch.from_numpy(-distance))

    def _averaged(self, weights: Any, gallery: Any, near: IntArray) -> Any:
        """Weights averaged with those of the nearest, ``k2`` in all."""
        others = _pairs(near[:, : self.k2 - 1], gallery.shape[0])
        count = 1 + others.sum(axis=1)
        return ((weights + others @ gallery) * (1 / count)[:, None]).tocsr()


def _pairs(places: IntArray, width: int) -> Any:
    """``(n, width)`` sparse, 1 at the places ``(n, k)`` of each row, -1 for none."""
    row, slot = np.nonzero(places >= 0)
    return _ones(row, places[row, slot], (len(places), width))


def _mutual(near: IntArray) -> Any:
    """``(g, g)`` sparse, 1 where each of two images is among the nearest of the other, and for each with itself."""
    from scipy import sparse

    one_way = _pairs(near, len(near)) + sparse.eye_array(len(near), format="csr")
    return one_way.multiply(one_way.T).tocsr()


def _extended(mutual: Any, narrow: Any) -> Any:
    """Each row of a neighbourhood with the narrow ones of those in it that lie in it by two thirds."""
    overlap = (mutual @ narrow).multiply(mutual).tocoo()
    inside = 3 * overlap.data >= 2 * narrow.sum(axis=1)[overlap.col]
    return mutual + _ones(overlap.row[inside], overlap.col[inside], mutual.shape) @ narrow


def _ones(row: IntArray, column: IntArray, shape: tuple[int, int]) -> Any:
    from scipy import sparse

    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)


def _weights(pattern: Any, left: Tensor, right: Tensor, itself: FloatArray) -> Any:
    """``exp(-distance)`` at the entries of a pattern, each row divided by its sum and the weight of itself besides."""
    from scipy import sparse

    entries = pattern.tocoo()
    weight = np.empty(len(entries.data))
    for start in range(0, len(weight), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        close = similarity(left[entries.row[part]], right[entries.col[part]][:, None])
        weight[part] = (close[:, 0] - 1).exp().numpy()
    weights = sparse.csr_array((weight, (entries.row, entries.col)), shape=pattern.shape)
    return (weights * (1 / (weights.sum(axis=1) + itself))[:, None]).tocsr()


def _jaccard(weights: Any, by_column: Any) -> FloatArray:
    """``(g,)`` Jaccard distances of one row of weights to those of all images."""
    shared = by_column[:, weights.indices]
    shared.data = np.minimum(shared.data, np.repeat(weights.data, np.diff(shared.indptr)))
    common = shared.sum(axis=1)
    distance: FloatArray = 1 - common / (2 - common)
    return distance
