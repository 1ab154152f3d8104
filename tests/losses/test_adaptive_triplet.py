"""The adaptive triplet loss: every property that its definition promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.errors import OptionError
from retrieval_bench.losses import AdaptiveTripletLoss

GAPS = st.lists(st.floats(-20, 20), min_size=1, max_size=20)


def at_margin(margin: float) -> AdaptiveTripletLoss:
    loss = AdaptiveTripletLoss().double()
    loss.refresh(torch.tensor([margin], dtype=torch.float64))
    return loss


def value(gaps: list[float], margin: float) -> float:
    return float(at_margin(margin)(torch.tensor(gaps, dtype=torch.float64)))


def slopes(loss: AdaptiveTripletLoss, gaps: list[float]) -> list[float]:
    gap = torch.tensor(gaps, dtype=torch.float64, requires_grad=True)
    loss(gap).backward()
    assert gap.grad is not None
    return gap.grad.tolist()


@given(st.floats(-20, 20), st.integers(1, 9))
def test_it_is_one_half_where_every_gap_is_the_margin(margin, count):
    assert value([margin] * count, margin) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(("lead", "expected"), [(5, 0.006693), (-5, 0.993307)])
def test_a_lead_of_5_by_hand(lead, expected):
    assert value([2.5 + lead], 2.5) == pytest.approx(expected, abs=5e-7)


@given(GAPS, st.floats(-10, 10))
def test_it_is_between_0_and_1_and_falls_with_each_gap(gaps, margin):
    before = value(gaps, margin)
    assert 0 < before < 1
    for i in range(len(gaps)):
        assert value([*gaps[:i], gaps[i] + 0.5, *gaps[i + 1 :]], margin) < before


@given(GAPS, st.floats(-10, 10))
def test_no_triplet_pulls_harder_than_a_quarter_and_the_one_at_the_margin_does(gaps, margin):
    pulls = [-slope * len(gaps) for slope in slopes(at_margin(margin), gaps)]
    assert all(0 < pull <= 0.25 + 1e-12 for pull in pulls)
    assert slopes(at_margin(margin), [margin]) == pytest.approx([-0.25])


@given(GAPS, st.floats(-10, 10), st.floats(-10, 10))
def test_adding_a_constant_to_gaps_and_margin_changes_nothing(gaps, margin, shift):
    assert value([g + shift for g in gaps], margin + shift) == pytest.approx(value(gaps, margin), abs=1e-9)


@given(GAPS)
def test_swapping_positives_and_negatives_takes_it_to_its_complement_at_margin_0(gaps):
    assert value([-g for g in gaps], 0.0) == pytest.approx(1 - value(gaps, 0.0), abs=1e-12)


@given(GAPS)
def test_right_after_a_refresh_the_mean_lead_is_0(gaps):
    loss, gap = AdaptiveTripletLoss().double(), torch.tensor(gaps, dtype=torch.float64)
    loss.refresh(gap)
    assert float((gap - loss.margin).mean()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scope", ["epoch", "batch", "ema"])
def test_the_margin_is_a_constant_to_the_gradient(scope):
    loss = AdaptiveTripletLoss(scope).double()
    loss.refresh(torch.tensor([1.0, 3.0], dtype=torch.float64))
    # Through the mean the slopes of gaps 1 and 3 would both be 0.
    assert slopes(loss, [1.0, 3.0]) == pytest.approx([-0.098306] * 2, abs=1e-6)
    assert float(loss(torch.tensor([1.0, 3.0], dtype=torch.float64))) == pytest.approx(0.5)
    assert not loss.margin.requires_grad


def test_three_equal_gaps_share_a_quarter():
    assert slopes(AdaptiveTripletLoss("batch"), [4.0, 4.0, 4.0]) == pytest.approx([-1 / 12] * 3)


def test_under_epoch_the_margin_stays_until_the_next_refresh():
    loss = AdaptiveTripletLoss()
    with pytest.raises(ValueError, match="call refresh"):
        loss(torch.zeros(3))
    loss.refresh(torch.tensor([1.0, 2.0, 6.0]))
    for _ in range(3):
        assert loss(torch.full((4,), 8.0)).item() == pytest.approx(1 / (1 + math.exp(5)))
    assert loss.margin.item() == 3.0


def test_under_batch_the_margin_is_the_batchs_mean():
    loss = AdaptiveTripletLoss("batch")
    for gaps in ([1.0, 3.0], [5.0, 7.0]):
        assert loss(torch.tensor(gaps)).item() == pytest.approx(0.5)
        assert loss.margin.item() == sum(gaps) / 2


def test_under_ema_the_margin_starts_at_the_first_batch_and_follows():
    loss = AdaptiveTripletLoss("ema", momentum=0.75)
    assert loss(torch.tensor([1.0, 3.0])).item() == pytest.approx(0.5)
    assert loss.margin.item() == 2.0
    loss(torch.tensor([10.0]))
    assert loss.margin.item() == pytest.approx(0.75 * 2 + 0.25 * 10)
    loss.eval()
    assert loss(torch.tensor([4.0])).item() == pytest.approx(0.5)
    assert loss.margin.item() == pytest.approx(4.0)


@pytest.mark.parametrize("scope", ["epoch", "ema"])
def test_the_margin_is_saved_with_the_state(scope):
    loss, again = AdaptiveTripletLoss(scope), AdaptiveTripletLoss(scope)
    loss.refresh(torch.tensor([1.0, 4.0]))
    again.load_state_dict(loss.state_dict())
    gap = torch.tensor([0.0, 2.0])
    assert torch.equal(again(gap), loss(gap))


@pytest.mark.parametrize(
    ("options", "words"), [({"scope": "all"}, "epoch, batch, ema"), ({"momentum": 1.0}, "below 1")]
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        AdaptiveTripletLoss(**options)


def margins_of_rank(scope: str) -> list[float]:
    from torch import distributed

    loss = AdaptiveTripletLoss(scope, momentum=0.5)
    for gaps in ([[1.0, 2.0], [6.0]], [[0.0], [4.0, 8.0]]):
        loss(torch.tensor(gaps[distributed.get_rank()]))
    return [float(loss.margin)]


@pytest.mark.parametrize(("scope", "margin"), [("batch", 4.0), ("ema", 3.5)])
def test_the_batchs_mean_is_that_of_all_processes(two_processes, scope, margin):
    assert two_processes(margins_of_rank, scope) == [[margin], [margin]]
