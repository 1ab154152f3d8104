"""R-MAC, by hand and against loops."""

import numpy as np
import pytest
import torch

from retrieval_bench.methods import RMAC, GlobalPooling
from retrieval_bench.nn.regions import rmac_regions

TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride4"}  # 64 channels


def rmac(**options) -> RMAC:
    return RMAC(**TRUNK, **{"whiten": False, **options})


def maps(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_a_descriptor_by_hand():
    x = torch.tensor([[[[3.0, 0], [0, 1]], [[4, 2], [0, 0]]]])
    # The whole (3, 4), and the cells (3, 4), (0, 2), (0, 0), (1, 0): of unit length, and summed.
    expected = torch.tensor([[0.6 + 0.6 + 0 + 1, 0.8 + 0.8 + 1 + 0]]) / (2.2**2 + 2.6**2) ** 0.5
    torch.testing.assert_close(rmac(levels=2).describe(x), expected)
    once_more = torch.tensor([[2.8, 3.4]]) / (2.8**2 + 3.4**2) ** 0.5
    torch.testing.assert_close(rmac(levels=2, include_global=True).describe(x), once_more)


def unit(x: np.ndarray) -> np.ndarray:
    length = np.sqrt((x**2).sum())
    return x / length if length > 0 else x


def by_loops(x: np.ndarray, mean: np.ndarray, projection: np.ndarray, levels: int) -> np.ndarray:
    total = np.zeros(len(projection))
    for region in rmac_regions(x.shape[1], x.shape[2], levels):
        vector = np.full(len(x), -np.inf)
        for row in range(region.y, region.y + region.height):
            for column in range(region.x, region.x + region.width):
                vector = np.maximum(vector, x[:, row, column])
        total += unit(projection @ (unit(vector) - mean))
    return unit(total)


@pytest.mark.parametrize(("height", "width", "levels"), [(6, 9, 3), (9, 6, 2), (5, 5, 3), (1, 4, 3), (1, 1, 3)])
def test_whitened_descriptors_are_those_of_loops(height, width, levels):
    method = rmac(levels=levels, whiten=True)
    regions = method.region_vectors(maps(20, 64, 8, 8), None).vectors.flatten(0, 1)
    method.whitening.fit(torch.nn.functional.normalize(regions, dim=1))
    x = maps(3, 64, height, width)
    mean, projection = method.whitening.mean.numpy(), method.whitening.projection.numpy()
    expected = np.stack([by_loops(one.double().numpy(), mean, projection, levels) for one in x])
    found = method.describe(x).numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert np.allclose((found**2).sum(1), 1, atol=1e-5)


def test_one_level_of_a_square_map_is_mac():
    x = maps(2, 64, 7, 7)
    torch.testing.assert_close(rmac(levels=1).describe(x), GlobalPooling("mac", **TRUNK, whiten=False).describe(x))
    assert not torch.allclose(rmac().describe(x), rmac(levels=1).describe(x), atol=1e-3)


def test_windows_are_described_as_maps_of_their_own():
    method, x = rmac(), maps(64, 9, 12)
    windows = torch.tensor([[0, 0, 12, 9], [3, 1, 10, 5], [11, 8, 12, 9]])
    found = method.describe_windows(x, windows)
    for one, (x1, y1, x2, y2) in zip(found, windows.tolist(), strict=True):
        assert torch.equal(one, method.describe(x[None, :, y1:y2, x1:x2])[0])


def test_the_scale_of_activations_does_not_matter():
    x = maps(2, 64, 6, 9)
    torch.testing.assert_close(rmac().describe(0.25 * x), rmac().describe(x))


def test_no_levels_are_refused():
    with pytest.raises(ValueError, match="at least 1 level of regions, not 0"):
        rmac(levels=0)
