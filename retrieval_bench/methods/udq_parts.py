"""What UDQ trains on top of its regions, and what it learns from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import Batch
from retrieval_bench.methods.epoch_order import EpochOrder
from retrieval_bench.retrieval.descriptors import Descriptors


class CodewordClassifiers(nn.Module):
    """A linear classifier of the codewords in each subspace (FC_cls).

    Args:
        subspaces: M.
        part: Length of a subspace's vectors.
        codewords: K.
    """

    def __init__(self, subspaces: int, part: int, codewords: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(subspaces, codewords, part))
        self.bias = nn.Parameter(torch.empty(subspaces, codewords))
        self.start_at_random(torch.Generator().manual_seed(0))

    def forward(self, rotated: Tensor) -> Tensor:
        """Scores ``(n, M, K)`` of rotated features ``(n, M * part)``."""
        parts = rotated.view(len(rotated), *self.weight.shape[::2])
        return torch.einsum("nmd,mkd->nmk", parts, self.weight) + self.bias

    @torch.no_grad()
    def start_at_random(self, generator: torch.Generator) -> None:
        """As ``nn.Linear`` starts; the generator is the host's, so that all devices draw the same."""
        bound = self.weight.shape[2] ** -0.5
        for parameter in (self.weight, self.bias):
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))

    @torch.no_grad()
    def start_at_codebooks(self, codebooks: Tensor, sharpness: float) -> None:
        """Where the classes' probabilities are the soft assignment to the codewords.

        Args:
            codebooks: ``(M, K, part)``.
            sharpness: Of the assignment, whatever the scale: at a codeword the nearest other one is exp(-sharpness)
                times as likely, on average.
        """
        gaps = torch.cdist(codebooks, codebooks).square()
        gaps.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        gap = gaps.amin(2).mean()
        sharpness /= float(gap) if 0 < gap < torch.inf else 1.0  # a single codeword has no other
        self.weight.copy_(2 * sharpness * codebooks)
        self.bias.copy_(-sharpness * codebooks.square().sum(2))


@dataclass(frozen=True)
class CachedRegions:
    """The vectors of all regions of a set of pictures.

    Attributes:
        vectors: ``(images, R, C)`` float16 unit vectors.
        image: ``(images,)`` int64 rows of the sample table, ascending.
    """

    vectors: Tensor
    image: Tensor

    def blocks(self) -> Iterator[Tensor]:
        """All vectors, ``(n, C)`` float32 at a time."""
        return (block.flatten(0, 1).float() for block in torch.split(self.vectors, 64))


class RegionBatches:
    """Batches of all regions of some pictures.

    Args:
        regions: What to learn from.
        codes: Gives ``(images, R, M)`` the codes of the regions when an epoch starts.
        order: Of the pictures.
    """

    def __init__(self, regions: CachedRegions, codes: Callable[[], Tensor], order: EpochOrder) -> None:
        self._regions, self._codes, self._order = regions, codes, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        vectors, codes = self._regions.vectors, self._codes()
        for chosen in self._order.batches(vectors.device):
            yield {"vectors": vectors[chosen].flatten(0, 1), "codes": codes[chosen].flatten(0, 1)}


def drawn_regions(regions: int, count: int, seed: Sequence[int], images: Sequence[int]) -> Tensor:
    """Some regions of each picture, the same however pictures come together.

    Args:
        regions: How many a picture has.
        count: How many to draw; all where there are not so many.
        seed: Whole numbers that choose, together with the picture.
        images: ``(B,)`` rows of the sample table.

    Returns:
        ``(B, min(count, regions))`` int64, no region twice.
    """
    drawn = [np.random.default_rng([*seed, image]).permutation(regions)[:count] for image in images]
    return torch.from_numpy(np.stack(drawn))


def scaled_gradient(x: Tensor, scale: Tensor) -> Tensor:
    """The same values; gradients that pass are multiplied by a number."""
    return x.detach() + scale * (x - x.detach())


def first_rows(descriptors: Descriptors) -> Descriptors:
    """The first row of each image; rows of one image stand side by side."""
    return descriptors.rows(_is_first(descriptors.image))


def other_rows(descriptors: Descriptors) -> Descriptors:
    """All rows but the first of each image; rows of one image stand side by side."""
    return descriptors.rows(~_is_first(descriptors.image))


def _is_first(image: Tensor) -> Tensor:
    first = torch.ones(len(image), dtype=torch.bool)
    first[1:] = image[1:] != image[:-1]
    return first
