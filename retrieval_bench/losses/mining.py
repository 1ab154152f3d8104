"""Which triplets to learn from: hard ones as adaptive triplet draws them, or random ones."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_bench.errors import OptionError
from retrieval_bench.losses.triplet import Distance, check_distance

# Distances compared at a time: some 200 MB in all, for any number of images.
_BLOCK = 2**21
_ROW = 0xFFFFFFFF


class Triplets(NamedTuple):
    """Rows of embeddings, one triplet each, in the order of their anchors.

    Attributes:
        anchor: ``(t,)`` int64.
        positive: ``(t,)`` other rows of the anchors' classes.
        negative: ``(t,)`` rows of other classes.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor


def hard_triplets(
    embedding: Tensor,
    label: Tensor,
    beta: float = 0.5,
    *,
    generator: torch.Generator,
    distance: Distance = "euclidean",
) -> Triplets:
    """Draw one hard triplet for every image: one of the farthest positives, one of the nearest negatives.

    Of P positives any of the farthest max(1, floor(P beta)) is drawn alike, of N negatives any of the nearest
    max(1, ceil(N beta / 10)) (adaptive triplet, section 2; the paper leaves beta open). Equal distances are in the
    order of rows. An image that is alone in its class is no anchor.

    Args:
        embedding: ``(n, d)``.
        label: ``(n,)`` int64 classes.
        beta: In [0, 1]; at 0 the farthest positive and the nearest negative are taken.
        generator: All chance there is, on the host: equal states draw equally on every device.
        distance: See ``triplet_gap``; ``euclidean`` and ``squared`` order alike.

    Raises:
        OptionError: If beta is not in [0, 1], or there is no such distance.
        ValueError: If there are no triplets, because no class has two images or there is but one class, or if an
            embedding is not finite.
    """
    check_distance(distance)
    if not 0 <= beta <= 1:
        raise OptionError(f"beta is {beta}; it is a share of the positives, from 0 to 1")
    classes = _Classes(label)
    farthest, nearest = _candidates(classes.positives, classes.negatives, beta)
    p, n = _draw(farthest, generator), _draw(nearest, generator)
    x = embedding.detach().float()
    if not x.isfinite().all():
        raise ValueError("there are embeddings that are not finite, from which nothing can be chosen")
    if distance == "unit":
        x = F.normalize(x, dim=1)
    blocks = _ordered_distances(x, classes.anchors)
    positive, negative = zip(*(_choose(keys, rows, classes, p[rows], n[rows]) for rows, keys in blocks), strict=True)
    return Triplets(classes.anchors, torch.cat(positive), torch.cat(negative))


def random_triplets(label: Tensor, *, generator: torch.Generator) -> Triplets:
    """Draw one triplet for every image, any positive and any negative alike.

    Args:
        label: ``(n,)`` int64 classes.
        generator: All chance there is, on the host: equal states draw equally on every device.

    Raises:
        ValueError: If there are no triplets, because no class has two images or there is but one class.
    """
    classes = _Classes(label)
    p, n = _draw(classes.positives, generator)[classes.anchors], _draw(classes.negatives, generator)[classes.anchors]
    start, place, size = (x[classes.anchors] for x in (classes.start, classes.place, classes.size))
    # Members of a class are neighbours in this order: step over the anchor, and over its class.
    positive = classes.order[start + p + (p >= place)]
    negative = classes.order[n + size * (n >= start)]
    return Triplets(classes.anchors, positive, negative)


class _Classes:
    """For each image its class: where it starts when images are put in order of classes, and how large it is."""

    def __init__(self, label: Tensor) -> None:
        _, number, count = torch.unique(label, return_inverse=True, return_counts=True)
        self.order = torch.argsort(number, stable=True)
        self.size, self.start = count[number], (count.cumsum(0) - count)[number]
        self.place = torch.empty_like(number)
        self.place[self.order] = torch.arange(len(label), device=label.device) - self.start[self.order]
        self.label = label
        self.positives, self.negatives = (self.size - 1).double(), (len(label) - self.size).double()
        self.anchors = ((self.size > 1) & (self.size < len(label))).nonzero().squeeze(1)
        if not len(self.anchors):
            raise ValueError(
                f"{len(label)} images of {len(count)} classes make no triplet: "
                "there must be two classes, and two images in one of them"
            )


def _candidates(positives: Tensor, negatives: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """How many of the farthest positives and of the nearest negatives may be drawn."""
    # A hair for products that floating point puts beside the whole number they are.
    farthest = (positives * beta + 1e-9).floor().clamp(min=1)
    nearest = (negatives * beta / 10 - 1e-9).ceil().clamp(min=1)
    return farthest, nearest


def _draw(upper: Tensor, generator: torch.Generator) -> Tensor:
    """``(n,)`` whole numbers from 0, each below its own upper bound; as float64 a draw never reaches it."""
    chance = torch.rand(len(upper), dtype=torch.float64, generator=generator)
    return (chance.to(upper.device) * upper).long()


def _ordered_distances(x: Tensor, anchors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of anchors, and ``(b, n)`` int64 that order all images by distance, then by row; none is there twice."""
    lengths = x.square().sum(1)
    row = torch.arange(len(x), device=x.device)
    for rows in torch.split(anchors, max(1, _BLOCK // len(x))):
        with torch.autocast(x.device.type, enabled=False):
            squared = torch.addmm(lengths, x[rows], x.T, alpha=-2).add_(lengths[rows, None]).clamp_(min=0)
        # Floats that are not negative are ordered like their bits.
        yield rows, squared.view(torch.int32).long().bitwise_left_shift_(32).bitwise_or_(row)


def _choose(keys: Tensor, rows: Tensor, classes: _Classes, p: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the positive at place p from the far end, and of the negative at place n from the near end."""
    within = torch.arange(int(classes.size[rows].max()), device=rows.device)
    mates = classes.order[(classes.start[rows, None] + within).clamp(max=len(classes.order) - 1)]
    no_positive = (within >= classes.size[rows, None]) | (mates == rows[:, None])
    positives = keys.gather(1, mates).masked_fill_(no_positive, -1)
    farthest = positives.topk(int(p.max()) + 1, 1).values.gather(1, p[:, None])
    same = classes.label[rows, None] == classes.label
    negatives = keys.masked_fill_(same, torch.iinfo(torch.int64).max)
    nearest = negatives.topk(int(n.max()) + 1, 1, largest=False).values.gather(1, n[:, None])
    return farthest[:, 0] & _ROW, nearest[:, 0] & _ROW
