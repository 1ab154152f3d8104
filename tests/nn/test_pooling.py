"""Global poolings against numbers by hand and their limits."""

import itertools
import math

import pytest
import torch

from retrieval_bench.nn.pooling import MAC, GeM, SPoC, gem, spoc

X = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]]])


def test_poolings_by_hand():
    assert MAC()(X).tolist() == [[4, 8]]
    assert SPoC()(X).tolist() == [[10, 8]]
    expected = [((1 + 8 + 27 + 64) / 4) ** (1 / 3), (512 / 4) ** (1 / 3)]
    assert gem(X)[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert GeM(2.0)(X)[0].tolist() == pytest.approx([math.sqrt(7.5), 4.0], rel=1e-6)


def test_the_centre_prior_by_hand():
    # 3 x 5 cells: deviation 0.5; the four neighbours of the centre weigh exp(-2), the diagonals exp(-4).
    x = torch.zeros(1, 4, 3, 5)
    for channel, (row, column) in enumerate([(1, 2), (1, 3), (0, 1), (1, 0)]):
        x[0, channel, row, column] = 1
    assert spoc(x, centre_prior=True)[0].tolist() == pytest.approx(
        [1, math.exp(-2), math.exp(-4), math.exp(-8)], rel=1e-5
    )
    assert torch.equal(SPoC(centre_prior=True)(x), spoc(x, centre_prior=True))


def test_gem_is_the_mean_at_one_and_nears_the_maximum():
    x = torch.rand(3, 7, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    assert torch.allclose(gem(x, 1.0), x.mean((2, 3)))
    powers = [gem(x, p) for p in (1.0, 2.0, 5.0, 20.0, 60.0)]
    assert all((b >= a).all() for a, b in itertools.pairwise(powers))
    assert torch.allclose(powers[-1], x.amax((2, 3)), rtol=0.07)
    assert (powers[-1] <= x.amax((2, 3)) * 1.0001).all()
    assert torch.allclose(gem(5 * x), 5 * gem(x))


def test_gem_learns_its_power_and_has_a_gradient_at_zero():
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    layer = GeM()
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
    assert [p.shape for p in layer.parameters()] == [(1,)]
    y = torch.rand(1, 2, 3, 3)
    layer.zero_grad()
    layer(y).sum().backward()
    assert layer.p.grad.item() > 0  # a greater power, a greater mean
    fixed = GeM(4.0, learned=False)
    assert not list(fixed.parameters())
    assert fixed.state_dict()["p"].tolist() == [4.0]


def test_large_activations_do_not_overflow_in_half_precision():
    x = torch.full((1, 1, 2, 2), 500.0, dtype=torch.float16)
    assert gem(x).item() == pytest.approx(500, rel=1e-3)
    assert gem(x).dtype == torch.float16


def test_a_power_of_zero_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        GeM(0.0)
