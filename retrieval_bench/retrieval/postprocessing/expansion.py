"""Expansion by neighbours: of queries by what they find, of gallery images by what lies near them."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.postprocessing.base import (
    PostProcessing,
    RetrievalState,
    Sources,
    Windows,
    find_nearest,
    refuse_after_ranking,
    similarity,
)

_AT_ONCE = 2**20  # numbers of neighbours that are held at a time


class QueryExpansion(PostProcessing):
    """Ask again with the mean of the query and the first images it found.

    With ``alpha`` 0 all count alike (average query expansion; Chum et al., ICCV 2007); else an image counts as much as
    the ``alpha``-th power of its similarity (Radenovic et al., TPAMI 2019). Where the query was localised, the windows
    are what is averaged, and they alone are put in a new order.

    Args:
        n: How many of the first images; 0 leaves the ranking as it is.
        alpha: The power.

    Raises:
        OptionError: If one of them is negative.
    """

    def __init__(self, n: int = 5, alpha: float = 0.0) -> None:
        if min(n, alpha) < 0:
            raise OptionError(f"query expansion needs n and alpha of at least 0, got {n} and {alpha}")
        self.n, self.alpha = n, alpha

    @property
    def words(self) -> str:
        """What is done."""
        return f"{_kind(self.alpha)}query expansion by the first {self.n}"

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Expand the queries, and rank again."""
        if not self.n:
            return state
        if state.windows is not None:
            return self._among_windows(state, state.windows)
        places = state.nearest(self.n, sources.device)
        data = _expanded(state.query.data, state.gallery.data, places, self.alpha)
        return replace(state, query=replace(state.query, data=data), first=None)

    def _among_windows(self, state: RetrievalState, windows: Windows) -> RetrievalState:
        assert state.first is not None
        places = state.first[:, : windows.data.shape[1]]
        query = _expand(windows.query, windows.data[:, : self.n], places[:, : self.n], self.alpha)
        score = torch.stack([similarity(q, found) for q, found in zip(query, windows.data, strict=True)])
        return replace(state, windows=replace(windows, query=query)).reordered(places, score)


class DatabaseAugmentation(PostProcessing):
    """Replace every gallery image by the mean of itself and its nearest (Turcot and Lowe, ICCV workshops 2009).

    Weights are those of ``QueryExpansion``; Arandjelovic and Zisserman (CVPR 2012) put it as a mean.

    Args:
        k: How many of the nearest; 0 leaves the gallery as it is.
        alpha: The power of the similarity by which an image counts.

    Raises:
        OptionError: If one of them is negative.
    """

    def __init__(self, k: int = 10, alpha: float = 0.0) -> None:
        if min(k, alpha) < 0:
            raise OptionError(f"database augmentation needs k and alpha of at least 0, got {k} and {alpha}")
        self.k, self.alpha = k, alpha

    @property
    def words(self) -> str:
        """What is done."""
        return f"{_kind(self.alpha)}database augmentation by the nearest {self.k}"

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Augment the gallery.

        Raises:
            OptionError: If something has ranked already.
        """
        refuse_after_ranking(state, self.words)
        if not self.k:
            return state
        data = state.gallery.data
        near, _ = find_nearest(data, data, np.arange(len(data)), min(self.k, len(data)), sources.device)
        return replace(state, gallery=replace(state.gallery, data=_expanded(data, data, near, self.alpha)))


def _kind(alpha: float) -> str:
    return f"α-weighted (α = {alpha:g}) " if alpha else "average "


def _expanded(query: Tensor, gallery: Tensor, places: IntArray, alpha: float) -> Tensor:
    """``(q, d)`` each vector with those of the gallery that are at its places, -1 for none, in it."""
    step = max(1, _AT_ONCE // max(1, places.shape[1] * query.shape[1]))
    parts = (slice(start, start + step) for start in range(0, len(query), step))
    return torch.cat([_expand(query[part], gallery[places[part]], places[part], alpha) for part in parts])


def _expand(query: Tensor, near: Tensor, places: IntArray, alpha: float) -> Tensor:
    """``(q, d)`` the unit vector in the direction of the weighted mean, the query weighing 1."""
    weight = similarity(query, near).clamp(min=0).pow(alpha).masked_fill(torch.from_numpy(places < 0), 0)
    total = query.double() + (near.double() * weight[..., None]).sum(-2)
    return normalize(total, dim=-1, eps=1e-12).to(query.dtype)
