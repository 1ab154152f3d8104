"""Where in an image a query was found, and whether that is where it is."""

import torch
from torch import Tensor

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.similarity import Comparison

_MOST_ROW_PAIRS = 2**20  # compared at once


def best_boxes(
    query: Descriptors,
    gallery: Descriptors,
    asking: IntArray,
    searched: IntArray,
    device: torch.device | str | None = None,
) -> Tensor:
    """The box of the descriptor that is nearest to the query, of equally near ones the first.

    Args:
        query: Descriptors of at least the queries.
        gallery: Descriptors, with boxes, of at least the images that are looked at.
        asking: ``(p,)`` image indices of the queries of pairs.
        searched: ``(p,)`` image indices of the images of pairs.
        device: Where to compare.

    Returns:
        ``(p, 4)``.

    Raises:
        ValueError: If the gallery has no boxes.
    """
    if gallery.boxes is None:
        raise ValueError("descriptors without boxes do not tell where a query was found")
    queries, left = torch.unique(torch.from_numpy(asking), return_inverse=True)
    images, right = torch.unique(torch.from_numpy(searched), return_inverse=True)
    looked_at = gallery.select(images)
    comparison = Comparison.of(query, looked_at, queries.numpy(), images.numpy(), device)
    boxes = torch.empty(len(left), 4)
    assert looked_at.boxes is not None
    at_once = max(1, _MOST_ROW_PAIRS // (comparison.query.most_rows * comparison.gallery.most_rows))
    for pairs in torch.split(torch.arange(len(left)), at_once):
        pair, a, b = comparison.row_pairs(left[pairs], right[pairs])
        score = comparison.exact_rows(a, b)
        best = torch.full((len(pairs),), -torch.inf, dtype=score.dtype).scatter_reduce_(0, pair, score, "amax")
        reached = (score == best[pair]).nonzero().squeeze(1)
        first = torch.full((len(pairs),), len(looked_at)).scatter_reduce_(0, pair[reached], b[reached], "amin")
        boxes[pairs] = looked_at.boxes[first]
    return boxes


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes.

    Args:
        boxes: ``(p, 4)`` x1, y1, x2, y2.
        others: ``(p, 4)``.

    Returns:
        ``(p,)`` in [0, 1].
    """
    corner, end = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (end - corner).clamp(min=0).prod(1)
    area, other = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(1) for x in (boxes, others))
    return shared / (area + other - shared).clamp(min=1e-12)
