"""The nearest images of each query, exactly, in blocks: for ranked pictures and for predictions."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Pairs, tiles
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray
from retrieval_bench.retrieval.nearest import Nearest
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.screening import Screen
from retrieval_bench.retrieval.similarity import Comparison

_BLOCK = 2048  # images of either side that are compared at once
_MOST_PLACES = 32  # more would need too many candidates to be held
_MOST_NEAR = 128  # candidates of one query; to compare some more of them exactly takes as long as a search of its own
_MOST_COMPARED = 1 / 512  # of a gallery: to compare it exactly takes as long as bfloat16 saves
_MOST_SCORES = 2**23  # screened scores of one block of queries that are held at once
_ON_DEVICE = 16  # times as many keep a device busy
_MOST_ROW_PAIRS = 2**20  # compared at once to find boxes


@dataclass(frozen=True)
class Ranking:
    """The nearest gallery images of each query, nearest first.

    Attributes:
        query: ``(q,)`` image indices of the queries.
        image: ``(q, k)`` image indices; -1 where fewer than k images are left to rank.
        score: ``(q, k)`` float64, descending: the dot product, minus the squared Euclidean distance, minus the
            Hamming distance or minus the asymmetric distance; ``-inf`` where there is no image.
        boxes: ``(q, k, 4)`` float32 box of the descriptor that gave the score, or None.
    """

    query: IntArray
    image: IntArray
    score: np.ndarray
    boxes: np.ndarray | None = None


def search(
    query: Descriptors,
    gallery: Descriptors,
    *,
    top: int,
    truth: GroundTruth | None = None,
    device: torch.device | str | None = None,
) -> Ranking:
    """Find each query's nearest images; equal scores stand in gallery order.

    Args:
        query: Descriptors of the queries.
        gallery: Descriptors of the gallery.
        top: How many images to return for each query.
        truth: Whose queries ask, whose gallery is searched, and whose junk (a query's own image, too) is left out, all
            by image index. Without it every image of ``query`` asks and every image of ``gallery`` is searched, both in
            the order of their first descriptor, and nothing is left out.
        device: Where to compare; by default where the gallery's descriptors are.

    Raises:
        ValueError: If ``top`` is less than 1, the sides cannot be compared, or a descriptor is not finite.
        KeyError: If an image has no descriptor.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    asking = _images(query) if truth is None else truth.query
    searched = _images(gallery) if truth is None else truth.gallery
    comparison = Comparison.of(query, gallery, asking, searched, device)
    none = torch.zeros(0, dtype=torch.int64)
    junk = Pairs(none, none) if truth is None else TruthPairs(truth).junk()
    if not len(asking):
        place, score = _nothing(0, top)
    elif top <= _MOST_PLACES and comparison.is_dense and comparison.gallery.data.device.type == "cpu":
        place, score, left = _by_tiles(comparison, top, junk)
        if len(left):
            rest = Comparison.of(query, gallery, asking[left.numpy()], searched, device)
            place[left], score[left] = _by_rows(rest, top, junk.of_rows(left))
    else:
        place, score = _by_rows(comparison, top, junk)
    image = np.where(place.numpy() < 0, -1, searched[place.numpy()])
    return Ranking(asking, image, score.numpy(), _boxes(comparison, place, score))


def _by_tiles(comparison: Comparison, top: int, junk: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """Places and scores of the nearest, and the queries that have too many images near the last of them."""
    screen = _sharp_enough(comparison, top, junk)
    nearest = Nearest(screen, len(comparison.query), top, _MOST_NEAR)
    for i, j in screen.places():
        rows, columns = screen.rows[i], screen.columns[j]
        both = screen.halved and j > i
        if nearest.asks(rows) or (both and nearest.asks(columns)):
            scores = screen.scores(i, j)
            nearest.add(scores, rows, columns, 1)
            if both:
                nearest.add(scores, columns, rows, 0)
    ranking = _nothing(len(comparison.query), top)
    _rank(comparison, *nearest.take(), *ranking)
    return *ranking, nearest.given_up()


def _sharp_enough(comparison: Comparison, top: int, junk: Pairs) -> Screen:
    """A screen in bfloat16, unless that leaves too many images of the first tile to be compared exactly."""
    screen = Screen(comparison, junk, rows=_BLOCK, columns=_BLOCK)
    if screen.coarse:
        nearest = Nearest(screen, len(comparison.query), top)
        nearest.add(screen.scores(0, 0), screen.rows[0], screen.columns[0], 1)
        most = screen.rows[0].stop * (top + len(comparison.gallery) * _MOST_COMPARED)
        if len(nearest.take()[0]) > most:
            return Screen(comparison, junk, rows=_BLOCK, columns=_BLOCK, coarse=False)
    return screen


def _by_rows(comparison: Comparison, top: int, junk: Pairs) -> tuple[Tensor, Tensor]:
    """Places and scores of the nearest, however many images are near the last of them."""
    images = len(comparison.gallery)
    most = _MOST_SCORES * (1 if comparison.gallery.data.device.type == "cpu" else _ON_DEVICE)
    rows = max(1, min(1024, most // max(1, images)) // comparison.query.most_rows)
    screen = Screen(comparison, junk, rows=rows, columns=_tile(comparison), coarse=False)
    nearest = Nearest(screen, len(comparison.query), top)
    ranking = _nothing(len(comparison.query), top)
    for i, queries in enumerate(screen.rows):
        scores = torch.cat([screen.scores(i, j) for j in range(len(screen.columns))], dim=1)
        nearest.add(scores, queries, slice(0, images), 1)
        _rank(comparison, *nearest.take(), *ranking)
    return ranking


def _nothing(queries: int, top: int) -> tuple[Tensor, Tensor]:
    return torch.full((queries, top), -1), torch.full((queries, top), -math.inf, dtype=torch.float64)


def _rank(comparison: Comparison, near: Pairs, screened: Tensor, place: Tensor, score: Tensor) -> None:
    """Write the nearest of some pairs to their queries' rows of the places and scores."""
    exact = comparison.from_screened(screened)
    if not comparison.screening_is_exact:
        exact = comparison.exact(near.row, near.column)
    order = torch.from_numpy(np.lexsort((near.column, -exact, near.row)))
    row, column, exact = near.row[order], near.column[order], exact[order]
    rank = torch.arange(len(row)) - torch.searchsorted(row, row)
    keep = rank < place.shape[1]
    place[row[keep], rank[keep]] = column[keep]
    score[row[keep], rank[keep]] = exact[keep]


def _tile(comparison: Comparison) -> int:
    """How many gallery images are compared at once."""
    if comparison.metric == "adc":  # which makes tiles of its own
        return max(1, len(comparison.gallery))
    return max(1, 4096 // comparison.gallery.most_rows)


def _images(descriptors: Descriptors) -> IntArray:
    runs = torch.unique_consecutive(descriptors.image.cpu())  # of the rows that an image has, few are left to be sorted
    image, first = np.unique(runs.numpy(), return_index=True)
    return np.asarray(image[np.argsort(first)], np.int64)


def _boxes(comparison: Comparison, place: Tensor, score: Tensor) -> np.ndarray | None:
    """The box of the first descriptor that reaches each image's score."""
    if comparison.gallery.boxes is None:
        return None
    boxes = torch.full((*place.shape, 4), math.nan)
    of_one = place.shape[1] * comparison.query.most_rows * comparison.gallery.most_rows
    for rows in tiles(len(place), max(1, _MOST_ROW_PAIRS // of_one)):
        row, rank = (place[rows] >= 0).nonzero(as_tuple=True)
        row = row + rows.start
        pair, left, right = comparison.row_pairs(row, place[row, rank])
        reached = (comparison.exact_rows(left, right) == score[row, rank][pair]).nonzero().squeeze(1)
        first = torch.zeros(len(row), dtype=torch.int64)
        first.scatter_reduce_(0, pair[reached], right[reached], "amin", include_self=False)
        boxes[row, rank] = comparison.gallery.boxes.cpu()[first]
    return boxes.numpy()
