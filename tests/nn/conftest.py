"""Maps for the normalised cut."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

RealLikeMap = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def real_like_map() -> RealLikeMap:
    """``real_like_map(height, width, seed)``: ``(1, N, 4)`` principal components of a smooth map, and variances."""

    def make(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        fields = torch.zeros(64, height, width)
        for cells in (4, 8, 16):
            coarse = torch.randn(64, 1, height // cells + 2, width // cells + 2, generator=generator)
            fields += torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[:, 0]
        x = torch.relu(fields).flatten(1).T.double() * (0.2 + fields[0].flatten().sigmoid()[:, None])
        x = x - x.mean(0)
        _, scale, directions = torch.linalg.svd(x, full_matrices=False)
        return (x @ directions[:4].T).float()[None], scale[:4] ** 2

    return make
