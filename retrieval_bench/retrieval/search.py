"""The nearest images of each query, exactly, in blocks: for ranked pictures and for predictions."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Pairs, tiles
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.similarity import Comparison, round_down

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
    place = torch.full((len(asking), top), -1)
    score = torch.full((len(asking), top), -math.inf, dtype=torch.float64)
    most = _MOST_SCORES * (1 if comparison.gallery.data.device.type == "cpu" else _ON_DEVICE)
    rows_at_once = max(1, min(1024, most // max(1, len(searched))) // comparison.query.most_rows)
    for rows in tiles(len(asking), rows_at_once):
        place[rows], score[rows] = _search_block(comparison, rows, top, junk)
    image = np.where(place.numpy() < 0, -1, searched[place.numpy()])
    return Ranking(asking, image, score.numpy(), _boxes(comparison, place, score))


def _search_block(comparison: Comparison, rows: slice, top: int, junk: Pairs) -> tuple[Tensor, Tensor]:
    n, gallery = rows.stop - rows.start, comparison.gallery
    screened = torch.cat(
        [comparison.screened(rows, columns, "float32") for columns in tiles(len(gallery), _tile(comparison))],
        dim=1,
    )
    own = junk.of_rows(torch.arange(rows.start, rows.stop))
    screened[own.row, own.column] = -math.inf
    # k images reach the k-th screened score less what screening may be wrong by, so nothing that is screened at less
    # than that score less twice as much belongs to them.
    last = screened.topk(min(top, len(gallery))).values[:, -1].cpu()
    lower, upper = comparison.window(
        comparison.from_screened(last), comparison.query.norm[rows], float(gallery.norm.max()), "float32"
    )
    floor = lower.double() - (upper.double() - lower.double()) / 2
    floor = torch.where(last > -math.inf, round_down(floor, torch.float32), last).to(screened.device)
    row, column = ((screened >= floor[:, None]) & (screened > -math.inf)).nonzero().cpu().T
    if comparison.screening_is_exact:
        exact = comparison.from_screened(screened.cpu()[row, column])
    else:
        exact = comparison.exact(row + rows.start, column)
    order = torch.from_numpy(np.lexsort((column, -exact, row)))
    row, column, exact = row[order], column[order], exact[order]
    rank = torch.arange(len(row)) - torch.searchsorted(row, row)
    keep = rank < top
    place = torch.full((n, top), -1)
    score = torch.full((n, top), -math.inf, dtype=torch.float64)
    place[row[keep], rank[keep]] = column[keep]
    score[row[keep], rank[keep]] = exact[keep]
    return place, score


def _tile(comparison: Comparison) -> int:
    """How many gallery images are compared at once."""
    if comparison.metric == "adc":  # which makes tiles of its own
        return max(1, len(comparison.gallery))
    return max(1, 4096 // comparison.gallery.most_rows)


def _images(descriptors: Descriptors) -> IntArray:
    image, first = np.unique(descriptors.image.cpu().numpy(), return_index=True)
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
