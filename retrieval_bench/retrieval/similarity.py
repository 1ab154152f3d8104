"""How two images are compared: float64 scores that decide, and fast screening with a proven error bound.

The score of a pair is the float64 value of ``exact``: products of float32 numbers are exact in float64, and their sum
is taken in an order that depends on the dimension alone. It is therefore the same for any batch, thread count, process
count or device, and equal descriptors tie exactly. Matrix products are faster but change in the last bit with the
shape of a block; they only screen, and what they cannot tell apart is decided by ``exact``.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from retrieval_bench.errors import DescriptorError
from retrieval_bench.retrieval.adc import nearest_distances, pair_distances
from retrieval_bench.retrieval.descriptors import Descriptors, Metric, check_comparable
from retrieval_bench.retrieval.ground_truth import IntArray

Precision = Literal["float32", "float64"]

_UNIT_ROUNDOFF: dict[Precision, float] = {"float32": 2.0**-24, "float64": 2.0**-53}
UNDERFLOW = 2.0**-100  # times lengths: more than all that is lost below float32's range
_LARGEST_NORM = 1e18  # products of larger vectors overflow float32


class Side:
    """The queries or the gallery: descriptor rows in the order of their images, on the device that compares them.

    Attributes:
        data: ``(rows, d)`` descriptors, those of one image side by side.
        start: ``(images + 1,)`` the first row of each image, on the CPU.
        norm: ``(images,)`` float64 length of the longest row of each image, on the CPU.
        most_rows: The most rows an image has.
    """

    def __init__(self, descriptors: Descriptors, images: IntArray, device: torch.device) -> None:
        ids = torch.from_numpy(images)
        in_order = torch.equal(torch.unique_consecutive(descriptors.image.cpu()), ids)
        rows = descriptors if in_order else descriptors.select(images)
        owner = rows.image.cpu()
        # A new image starts where the id changes; ids are distinct on each side.
        fresh = torch.ones(len(owner), dtype=torch.bool)
        fresh[1:] = owner[1:] != owner[:-1]
        self.images = ids
        self.data = rows.data.detach().to(device)
        self.boxes = rows.boxes
        self.start = torch.cat([fresh.nonzero().squeeze(1), torch.tensor([len(owner)])])
        self.lengths = self.start.diff()
        self.most_rows = int(self.lengths.max()) if len(ids) else 1
        self.norm = self._norms()

    def __len__(self) -> int:
        return len(self.images)

    def _norms(self) -> Tensor:
        if not self.data.is_floating_point():
            return torch.zeros(len(self))
        # Results go to one array made beforehand: small ones, made between large ones, would fragment the heap.
        norm = torch.empty(len(self.data), dtype=torch.float64)
        step = max(1, 2**20 // self.data.shape[1])
        for first in range(0, len(self.data), step):
            norm[first : first + step] = self.data[first : first + step].double().square_().sum(1).sqrt_()
        owner = torch.repeat_interleave(torch.arange(len(self)), self.lengths)
        bad = torch.unique(owner[~(norm <= _LARGEST_NORM)])
        if len(bad):
            raise DescriptorError(
                f"{len(bad)} of {len(self)} images have a descriptor that is not finite or longer than "
                f"{_LARGEST_NORM:.0e}, the first is image {int(self.images[bad[0]])}: has the network diverged, or "
                "is one of its inputs empty?"
            )
        return best_of_each(norm[None], self.lengths)[0]

    def rows(self, images: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The ``(rows, d)`` descriptors of some images, and how many rows each has."""
        if isinstance(images, slice):
            return self.data[self.start[images.start] : self.start[images.stop]], self.lengths[images]
        lengths = self.lengths[images]
        return self.data[ragged_range(self.start[images], lengths).to(self.data.device)], lengths


@dataclass(frozen=True)
class Comparison:
    """Queries against a gallery under one metric; greater scores are nearer.

    A score is the dot product, minus the squared Euclidean distance, minus the Hamming distance or minus the asymmetric
    distance (see ``adc``) of the two images' best pair of descriptors. Screened scores are an increasing function of it
    (``to_screened``).
    """

    query: Side
    gallery: Side
    metric: Metric

    @classmethod
    def of(
        cls,
        query: Descriptors,
        gallery: Descriptors,
        query_images: IntArray,
        gallery_images: IntArray,
        device: torch.device | str | None = None,
    ) -> "Comparison":
        """Bring both sides into order; memory is shared where queries are the gallery.

        Raises:
            ValueError: If the two sides cannot be compared, or a descriptor is not finite.
            KeyError: If an image has no descriptor.
        """
        check_comparable(query, gallery)
        place = torch.device(device) if device is not None else gallery.data.device
        side = Side(gallery, gallery_images, place)
        same = query is gallery and torch.equal(torch.from_numpy(query_images), side.images)
        return cls(side if same else Side(query, query_images, place), side, gallery.metric)

    @property
    def same_sides(self) -> bool:
        """Whether the queries are the gallery, in the same order."""
        return self.query is self.gallery

    @property
    def screening_is_exact(self) -> bool:
        """Whether screened scores need no second look: Hamming distances are small integers, the others defined so."""
        return self.metric in ("hamming", "adc")

    @property
    def is_dense(self) -> bool:
        """Whether each image has one descriptor of real numbers."""
        return self.metric in ("dot", "euclidean") and self.query.most_rows == self.gallery.most_rows == 1

    def exact(self, query: Tensor, gallery: Tensor) -> Tensor:
        """``(pairs,)`` float64 scores, on the CPU, of pairs of images given by their places on the two sides."""
        if self.query.most_rows == self.gallery.most_rows == 1:
            return self.exact_rows(query, gallery)
        pair, left, right = self.row_pairs(query, gallery)
        scores = self.exact_rows(left, right)
        return best_of_each(scores[None], pair.bincount(minlength=len(query)))[0]

    def row_pairs(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All pairs of rows of pairs of images: the number of the pair, and the row on each side."""
        across = self.gallery.lengths[gallery]
        count = self.query.lengths[query] * across
        pair = torch.repeat_interleave(torch.arange(len(query)), count)
        place = ragged_range(torch.zeros_like(count), count)
        left = self.query.start[query[pair]] + place // across[pair]
        return pair, left, self.gallery.start[gallery[pair]] + place % across[pair]

    def exact_rows(self, left: Tensor, right: Tensor) -> Tensor:
        """``(pairs,)`` float64 scores, on the CPU, of pairs of rows."""
        device = self.gallery.data.device
        step = max(1, 2 ** (20 if device.type == "cpu" else 25) // self.gallery.data.shape[1])
        scores = torch.empty(len(left), dtype=torch.float64)
        for first in range(0, len(left), step):
            a, b = (rows[first : first + step].to(device) for rows in (left, right))
            if self.metric == "adc":
                scores[first : first + step] = -pair_distances(self.query.data, a, self.gallery.data[b])
            else:
                scores[first : first + step] = self._exact_step(self.query.data[a], self.gallery.data[b])
        return scores

    def _exact_step(self, a: Tensor, b: Tensor) -> Tensor:
        if self.metric == "hamming":
            return -_bits(a ^ b).sum((1, 2)).double()
        if self.metric == "dot":
            return _sum_of_rows(a.double().mul_(b))
        return -_sum_of_rows(a.double().sub_(b).square_())

    def screened(self, query: Tensor | slice, gallery: Tensor | slice, precision: Precision) -> Tensor:
        """``(q, g)`` screened scores of a block of images, in the number format asked for."""
        a, a_lengths = self.query.rows(query)
        b, b_lengths = self.gallery.rows(gallery)
        if self.metric == "adc":
            return best_of_each(-nearest_distances(a, b, b_lengths).T, a_lengths).T
        if self.metric == "hamming":
            a, b = _signs(a), _signs(b)
        kind = getattr(torch, precision)
        with unreduced_float32(a.device):
            scores = a.to(kind) @ b.to(kind).T
        if self.metric == "euclidean":
            for rows, shape in ((a, (-1, 1)), (b, (1, -1))):
                scores -= rows.double().square().sum(1).div(2).to(kind).view(shape)
        return best_of_each(best_of_each(scores, b_lengths).T, a_lengths).T

    def to_screened(self, score: Tensor) -> Tensor:
        """What a score becomes in screening, before rounding."""
        if self.metric == "euclidean":
            return score / 2
        return 2 * score + 8 * self.gallery.data.shape[1] if self.metric == "hamming" else score

    def from_screened(self, screened: Tensor) -> Tensor:
        """The score that becomes a screened one, but for rounding; where screening is exact, there is none."""
        if self.metric == "euclidean":
            return screened.double() * 2
        if self.metric == "hamming":
            return (screened.double() - 8 * self.gallery.data.shape[1]) / 2
        return screened.double()

    def window(self, score: Tensor, norm: Tensor, largest_other: float, precision: Precision) -> tuple[Tensor, Tensor]:
        """Between which screened values a pair may have exactly a given score, or be on either side of it.

        Args:
            score: ``(n,)`` or ``(n, levels)`` float64 scores.
            norm: ``(n,)`` lengths of the descriptors the scores belong to.
            largest_other: The greatest length among those they are compared with.
            precision: Of the screening.

        Returns:
            Lower and upper end, in the number format of ``screened``; the window includes both.
        """
        middle, kind = self.to_screened(score), getattr(torch, precision)
        width = self.width(norm, largest_other, precision).view(-1, *[1] * (score.ndim - 1))
        return round_down(middle - width, kind), -round_down(-(middle + width), kind)

    def width(self, norm: Tensor, largest_other: float, precision: Precision) -> Tensor:
        """``(n,)`` float64 how far a screened value may be from what a score becomes in screening; see ``window``.

        A dot product of d numbers, summed in any order, is wrong by at most ``d u / (1 - d u) |a| |b|`` (Higham,
        Accuracy and Stability of Numerical Algorithms, section 3.1).
        """
        if self.screening_is_exact:
            return torch.zeros(len(norm), dtype=torch.float64)
        size = norm * largest_other
        if self.metric == "euclidean":  # three terms, each rounded, and their sum
            size = size + (norm.square() + largest_other**2) / 2
        width = rounding_share(self.gallery.data.shape[1], precision) * size
        return width + UNDERFLOW * (1 + norm + largest_other)


def rounding_share(dimension: int, precision: Precision) -> float:
    """How wrong a screened product can be, relative to the lengths; float64's own roundings included."""
    # Eight more terms than the bound asks for: the norms, the subtractions and `exact` are rounded, too.
    terms = (dimension + 8) * _UNIT_ROUNDOFF[precision]
    return terms / (1 - terms) + (dimension + 8) * _UNIT_ROUNDOFF["float64"]


def round_down(value: Tensor, kind: torch.dtype) -> Tensor:
    """The greatest number of a format that is not above a float64 value."""
    nearest = value.to(kind)
    below = torch.nextafter(nearest, torch.full_like(nearest, -math.inf))
    return torch.where(nearest.double() > value, below, nearest)


def ragged_range(start: Tensor, length: Tensor) -> Tensor:
    """``start[i], start[i] + 1, ...`` of ``length[i]`` numbers, one list after the other."""
    first = length.cumsum(0) - length
    return torch.arange(int(length.sum())) + torch.repeat_interleave(start - first, length)


def best_of_each(scores: Tensor, lengths: Tensor) -> Tensor:
    """``(q, images)`` the maximum over each image's columns of ``(q, rows)`` scores."""
    if len(lengths) == scores.shape[1]:
        return scores
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(scores.device)
    best = scores.new_full((len(scores), len(lengths)), -math.inf)
    return best.scatter_reduce_(1, owner.expand_as(scores), scores, "amax")


@contextmanager
def unreduced_float32(device: torch.device) -> Iterator[None]:
    """Matrix products in true float32, whatever autocast or TF32 the surrounding program has switched on."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _sum_of_rows(x: Tensor) -> Tensor:
    """``(n,)`` row sums by halving, so that the order of additions depends on nothing but the number of columns."""
    while x.shape[1] > 1:
        half = 1 << ((x.shape[1] - 1).bit_length() - 1)
        x[:, : x.shape[1] - half] += x[:, half:]
        x = x[:, :half]
    return x[:, 0]


def _bits(codes: Tensor) -> Tensor:
    """``(n, bytes, 8)`` the bits of packed codes, as 0 and 1."""
    return (codes[..., None] >> torch.arange(8, dtype=torch.uint8, device=codes.device)) & 1


def _signs(codes: Tensor) -> Tensor:
    """``(n, bits)`` float32 -1 and 1: their dot product is the number of bits less twice the Hamming distance."""
    return _bits(codes).flatten(1).float().mul_(2).sub_(1)
