"""The first images of every query, under the very ranking that was scored."""

from dataclasses import replace

import numpy as np
import torch

from retrieval_bench.bench.ranked import JUNK, RELEVANT, WRONG, Ranked
from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.images import image_size
from retrieval_bench.methods.base import RetrievalMethod
from retrieval_bench.retrieval.counting import tiles
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.postprocessing import RetrievalState
from retrieval_bench.retrieval.search import Ranking, search

TOP = 10
_QUERIES_AT_ONCE = 4096


def first_images(model: RetrievalMethod, data: RetrievalDataModule, device: torch.device) -> Ranked:
    """What each query finds first; after post-processing, what it finds then.

    Args:
        model: A method after an evaluation, on the first process.
        data: What it was evaluated on.
        device: Where to compare.
    """
    truth = data.ground_truth
    shown = _without_junk_but_itself(truth, exclude_self=data.protocol.self_match == "exclude")
    if model.postprocessed is None:
        assert model.searched is not None
        ranking = search(*model.searched, top=TOP, truth=shown, device=device)
    elif model.postprocessed.first is None:
        after = model.postprocessed
        ranking = search(after.query, after.gallery, top=TOP, truth=shown, device=device)
    else:
        ranking = _reranked(model.postprocessed, data, device)
    unknown = np.full((*ranking.image.shape, 4), np.nan, np.float32)
    return Ranked(
        query=ranking.query.astype(np.int64),
        image=ranking.image.astype(np.int64),
        score=np.where(ranking.image < 0, np.nan, ranking.score).astype(np.float32),
        relevance=_relevance(ranking.image, truth),
        box=unknown if ranking.boxes is None else ranking.boxes.astype(np.float32),
    )


def _without_junk_but_itself(truth: GroundTruth, *, exclude_self: bool) -> GroundTruth:
    """Junk is shown where it stands; a query's own image is not, where the protocol takes it out."""
    queries = len(truth.query)
    nothing = RaggedLists(np.empty(0, np.int64), np.zeros(queries + 1, np.int64))
    itself = RaggedLists(truth.query, np.arange(queries + 1)) if exclude_self else nothing
    return replace(truth, positives=nothing, junk=itself)


def _reranked(state: RetrievalState, data: RetrievalDataModule, device: torch.device) -> Ranking:
    """The order that steps of post-processing have made; no score says it."""
    found = state.nearest(TOP, device)
    places = np.full((len(found), TOP), -1)
    places[:, : found.shape[1]] = found
    image = np.where(places < 0, -1, state.gallery.image.numpy()[places])
    return Ranking(data.ground_truth.query, image, np.full(image.shape, np.nan), _window_boxes(state, image, data))


def _window_boxes(state: RetrievalState, image: IntArray, data: RetrievalDataModule) -> np.ndarray | None:
    """Where localisation has found each query, in pixels; it does not know where a cropped picture was."""
    if state.windows is None or data.protocol.image_crop != "none":
        return None
    boxes = np.full((*image.shape, 4), np.nan)
    share = state.windows.boxes[:, :TOP].numpy()
    boxes[:, : share.shape[1]] = share
    size = {row: image_size(data.dataset.image_path(row)) for row in np.unique(image[image >= 0]).tolist()}
    size[-1] = (0, 0)
    height, width = np.moveaxis(np.array([[size[row] for row in own] for own in image.tolist()]), 2, 0)
    return np.where(image[..., None] < 0, np.nan, boxes * np.stack([width, height, width, height], 2))


def _relevance(image: IntArray, truth: GroundTruth) -> np.ndarray:
    """``(q, k)`` int8 what the ground truth says of each image; an image that is positive and junk is junk."""
    relevance = np.full(image.shape, WRONG, np.int8)
    order = np.argsort(truth.gallery, kind="stable")
    place = order[np.searchsorted(truth.gallery[order], image).clip(max=len(order) - 1)]
    pairs = TruthPairs(truth)
    for rows in tiles(len(image), _QUERIES_AT_ONCE):
        key = np.arange(rows.stop - rows.start)[:, None] * len(order) + place[rows]
        for kind, of_kind in zip((RELEVANT, JUNK), pairs.of(rows), strict=True):
            relevance[rows][np.isin(key, of_kind.key(len(order)).numpy())] = kind
    relevance[image < 0] = WRONG
    return relevance
