"""MAC, SPoC and GeM, by hand."""

import pytest
import torch

from retrieval_bench.methods import GlobalPooling


def method(pool: str, **options) -> GlobalPooling:
    return GlobalPooling(pool, **{"backbone": "resnet18", "weights": "none", "whiten": False, **options})


@pytest.mark.parametrize(
    ("pool", "options", "expected"),
    [
        ("mac", {}, (3, 4)),
        ("spoc", {}, (3, 8)),
        ("gem", {"p": 1.0}, (3, 8)),
        ("gem", {"p": 2.0}, (9**0.5, 32**0.5)),
        ("gem", {}, (27 ** (1 / 3), 128 ** (1 / 3))),
    ],
)
def test_descriptors_of_a_small_map_by_hand(pool, options, expected):
    maps = torch.tensor([[[[3.0, 0], [0, 0]], [[0, 4], [4, 0]]]])
    found = method(pool, **options).describe(maps)
    torch.testing.assert_close(found, torch.tensor([expected]) / sum(x**2 for x in expected) ** 0.5)


@pytest.mark.parametrize("pool", ["mac", "spoc", "gem"])
def test_whitening_follows_and_descriptors_are_unit_vectors(pool):
    pooling = method(pool, whiten=True)
    maps = torch.rand(20, 512, 3, 4, generator=torch.Generator().manual_seed(0))
    plain = pooling.describe(maps)
    pooling.whitening.fit(plain)
    white = pooling.describe(maps)
    torch.testing.assert_close(white, pooling.whitening(plain), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.norm(dim=1), torch.ones(20))
    # Twenty whitened vectors have no mean, and are as far from each other as points can be.
    torch.testing.assert_close(white @ white.T, torch.eye(20) * 20 / 19 - 1 / 19, atol=1e-3, rtol=0)


@pytest.mark.parametrize("pool", ["mac", "spoc", "gem"])
def test_the_scale_of_activations_does_not_matter(pool):
    pooling, maps = method(pool), torch.rand(2, 512, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pooling.describe(64 * maps), pooling.describe(maps))


def test_a_wrong_pooling_is_named():
    with pytest.raises(ValueError, match="pool cannot be 'max'; it is one of mac, spoc, gem"):
        method("max")
    with pytest.raises(ValueError, match="greater than 0, not 0"):
        method("gem", p=0)
