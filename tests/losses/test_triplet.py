"""Gaps by hand, and the loss with a fixed margin."""

import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.losses import TripletLoss, triplet_gap

# The positive lies 5 away (3, 4), the negative 13 (5, 12); and the other way round.
ANCHOR = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
POSITIVE = torch.tensor([[4.0, 5.0], [5.0, 12.0]])
NEGATIVE = torch.tensor([[6.0, 13.0], [3.0, -4.0]])


@pytest.mark.parametrize(("distance", "gap"), [("euclidean", 13 - 5), ("squared", 169 - 25)])
def test_gaps_by_hand(distance, gap):
    assert triplet_gap(ANCHOR, POSITIVE, NEGATIVE, distance).tolist() == pytest.approx([gap, -gap])


def test_the_unit_distance_sees_directions_alone():
    a, p, n = (torch.tensor([x]) for x in ([2.0, 0.0], [9.0, 0.0], [0.0, 0.3]))
    assert triplet_gap(a, p, n, "unit").item() == pytest.approx(2**0.5, abs=2e-6)


def test_codes_of_64_bits_are_at_most_16_apart():
    a = torch.ones(1, 64)
    assert triplet_gap(a, a, -a).item() == pytest.approx(16, abs=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "squared", "unit"])
def test_slopes_are_finite_where_embeddings_are_the_same(distance):
    a = torch.ones(2, 4, requires_grad=True)
    triplet_gap(a, a.detach(), a.detach(), distance).sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [[0.0] * 4] * 2


def test_half_precision_is_compared_in_single():
    gap = triplet_gap(ANCHOR.bfloat16(), POSITIVE.bfloat16(), NEGATIVE.bfloat16())
    assert gap.dtype == torch.float32
    assert gap.tolist() == pytest.approx([8, -8])


def test_an_unknown_distance_lists_the_known_ones():
    with pytest.raises(OptionError, match="'cosine'; known are euclidean, squared, unit"):
        triplet_gap(ANCHOR, POSITIVE, NEGATIVE, "cosine")


def test_the_loss_is_what_the_gap_lacks_to_the_margin():
    gap = torch.tensor([0.0, 1.5, 2.0, 7.0, -1.0], requires_grad=True)
    loss = TripletLoss(2.0)(gap)
    assert loss.item() == pytest.approx((2 + 0.5 + 0 + 0 + 3) / 5)
    loss.backward()
    assert gap.grad is not None
    assert gap.grad.tolist() == pytest.approx([-0.2, -0.2, 0, 0, -0.2])


def test_the_loss_equals_a_loop_over_embeddings():
    x = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [max(0.0, (a - p).norm() - (a - n).norm() + 0.7) for a, p, n in zip(*x, strict=True)]
    assert TripletLoss(0.7)(triplet_gap(*x)).item() == pytest.approx(float(sum(expected)) / 20)
