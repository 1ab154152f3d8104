"""Ranking by diffusion: similarity that flows along a graph of neighbours."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.postprocessing.base import (
    PostProcessing,
    RetrievalState,
    Sources,
    find_nearest,
    similarity,
)

_TOLERANCE = 1e-6  # of the residual, relative to the start


class Diffusion(PostProcessing):
    """Put the first images in the order of what flows to them from the query's neighbours (Iscen et al., CVPR 2017).

    Two gallery images are joined where each is among the nearest of the other, by their similarity to the power
    ``gamma``. Where random walks that start anew at the query's neighbours come to rest is the solution of a linear
    system, found by conjugate gradients; truncated, that is, among the first images of each query alone. Images that
    nothing reaches stay in their order.

    Args:
        k: How many of the nearest of an image can be joined to it.
        query_k: At how many of the query's nearest the walks start.
        alpha: The probability of going on, between 0 and 1.
        gamma: The power of similarities.
        top: How many of each query's first images take part.

    Raises:
        OptionError: If one of them is out of its range.
    """

    def __init__(
        self, k: int = 50, query_k: int = 10, alpha: float = 0.99, gamma: float = 3.0, top: int = 5000
    ) -> None:
        if min(k, query_k, top) < 1 or not 0 < alpha < 1 or gamma <= 0:
            raise OptionError(
                "diffusion needs k, query_k and top of at least 1, alpha between 0 and 1 and a positive gamma, "
                f"got {k}, {query_k}, {top}, {alpha} and {gamma}"
            )
        self.k, self.query_k, self.alpha, self.gamma, self.top = k, query_k, alpha, gamma, top

    @property
    def words(self) -> str:
        """What is done."""
        return f"diffusion among the first {self.top:,} on a graph of the {self.k} nearest"

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Put the first images in a new order."""
        graph = self._graph(state.gallery.data, sources.device)
        places = state.nearest(self.top, sources.device)
        flow = np.zeros(places.shape)
        for i, (query, row) in enumerate(zip(state.query.data, places, strict=True)):
            at = row[row >= 0]
            start = np.zeros(len(at))
            near = similarity(query, state.gallery.data[at[: self.query_k]])
            start[: self.query_k] = near.clamp(min=0).pow(self.gamma).numpy()
            flow[i, : len(at)] = self._flow(graph[at][:, at], start)
        return replace(state, windows=None).reordered(places, torch.from_numpy(flow))

    def _graph(self, data: torch.Tensor, device: torch.device) -> Any:
        """``(g, g)`` sparse affinities of mutual neighbours, each divided by the root of both their sums."""
        from scipy import sparse

        count = len(data)
        near, score = find_nearest(data, data, np.arange(count), min(self.k, count), device)
        row, slot = np.nonzero(near >= 0)
        weight = np.maximum(score[row, slot], 0) ** self.gamma
        one_way = sparse.csr_array((weight, (row, near[row, slot])), shape=(count, count))
        mutual = one_way.minimum(one_way.T)
        total = mutual.sum(axis=1)
        scale = np.divide(1, np.sqrt(total), out=np.zeros(count), where=total > 0)
        return sparse.csr_array(mutual * scale[:, None] * scale)

    def _flow(self, graph: Any, start: FloatArray) -> FloatArray:
        from scipy import sparse
        from scipy.sparse.linalg import cg

        # Eigenvalues lie from 1 - alpha to 1 + alpha, so that it comes to an end.
        system = sparse.eye_array(len(start), format="csr") - self.alpha * graph
        flow: FloatArray = cg(system, start, rtol=_TOLERANCE)[0]
        return flow
