"""Intervals and permutation tests against hand-worked values, exact enumeration and slow loops."""

import itertools
import math
import random
import tracemalloc
from statistics import fmean

import numpy as np
import pytest

from retrieval_bench.bench import statistics
from retrieval_bench.bench.statistics import interval, paired, verdict

NAN = math.nan


def noisy(seeds, queries, *, mean=0.5, of_seeds=0.0, of_queries=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return mean + rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_queries, (seeds, queries))


def test_differences_are_counted_query_by_query():
    a = np.array([[1.0, 1.0, 0.0, NAN, 1.0], [1.0, 0.0, 0.0, 1.0, 0.0]])
    b = np.array([[1.0, 0.0, 0.5, 1.0, 0.0]])
    found = paired(a, b)
    np.testing.assert_array_equal(found.per_query, [0.0, 0.5, -0.5, NAN, 0.5])
    assert (found.difference, found.wins, found.losses, found.ties, found.queries) == (0.125, 2, 1, 1, 4)
    # However the signs of three halves fall, their sum is at least one half.
    assert found.p_value == 1.0
    assert (found.low <= 0 <= found.high, found.verdict) == (True, "noise")


def test_values_that_differ_by_rounding_are_ties():
    tenths = np.array([[0.1], [0.2], [0.3]])
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    found = paired(np.repeat(tenths, 5, axis=1), np.repeat(tenths[::-1], 5, axis=1))
    assert (found.ties, found.difference, found.p_value) == (5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "noise"), (0.0, 0.1, "noise")]
)
def test_an_interval_that_contains_zero_is_noise(low, high, word):
    assert verdict(low, high) == word


def test_p_is_that_of_all_sign_flips():
    difference = np.random.default_rng(3).normal(0.3, 0.5, 12)
    observed = abs(difference.sum())
    flips = itertools.product((-1, 1), repeat=12)
    exact = fmean(abs(sum(s * d for s, d in zip(signs, difference, strict=True))) >= observed - 1e-9 for signs in flips)
    assert 0.02 < exact < 0.5
    found = paired(difference[None], np.zeros((1, 12)), resamples=20_000)
    assert found.p_value == pytest.approx(exact, abs=0.01)


def test_p_of_recall_is_that_of_the_sign_test():
    a, b = np.zeros((1, 400)), np.zeros((1, 400))
    a[0, :30], b[0, 30:48] = 1.0, 1.0  # 30 wins, 18 losses
    exact = 2 * sum(math.comb(48, k) for k in range(30, 49)) / 2**48
    assert paired(a, b, resamples=20_000).p_value == pytest.approx(exact, abs=0.01)


def test_p_is_never_zero_and_counts_the_observed():
    assert paired(np.ones((1, 50)), np.zeros((1, 50)), resamples=99).p_value == 0.01


@pytest.mark.parametrize("levels", [None, 3])
def test_the_interval_is_that_of_a_slow_loop(levels):
    a, b = noisy(3, 120, mean=0.55, of_seeds=0.05, seed=1), noisy(2, 120, of_seeds=0.05, seed=2)
    if levels:  # few kinds of queries, which are drawn by kind
        a, b = np.round(a[:, :1] + 0 * a + (np.arange(120) % levels), 1), np.round(0 * b + (np.arange(120) % 2), 1)
    draw, differences = random.Random(0), []
    for _ in range(4000):
        queries = draw.choices(range(120), k=120)
        of_a = fmean(fmean(a[s][q] for q in queries) for s in draw.choices(range(3), k=2))
        of_b = fmean(fmean(b[s][q] for q in queries) for s in draw.choices(range(2), k=1))
        differences.append(of_a - of_b)
    # Student's t with 119 degrees of freedom reaches 1.6578, times sqrt(120/119): what a normal passes in 4.798 %.
    low, high = np.quantile(differences, [0.04798, 0.95202])
    found = interval(a, b, confidence=0.9)
    assert found == pytest.approx((low, high), abs=0.06 * (high - low))


def test_drawing_queries_by_kind_or_one_by_one_makes_no_difference(monkeypatch):
    a = (noisy(2, 500, mean=0.6, seed=1) > 0.5).astype(float)
    b = (noisy(2, 500, mean=0.5, seed=2) > 0.5).astype(float)
    by_kind = interval(a, b)
    monkeypatch.setattr(statistics, "_FEW", 1000)
    one_by_one = interval(a, b)
    assert by_kind == pytest.approx(one_by_one, abs=0.03 * (by_kind[1] - by_kind[0]))


def test_with_one_seed_the_interval_is_that_of_the_mean_over_queries():
    a, b = noisy(1, 1000, mean=0.52, seed=1), noisy(1, 1000, seed=2)
    d = (a - b)[0]
    half = 1.96 * d.std(ddof=1) / math.sqrt(1000)
    assert interval(a, b) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.06 * half)


def test_intervals_of_ten_queries_hold_the_true_difference_as_often_as_they_say():
    rng = np.random.default_rng(0)
    trials = [interval(rng.normal(0.2, 0.3, (1, 10)), np.zeros((1, 10)), resamples=1000) for _ in range(600)]
    held = fmean(low <= 0.2 <= high for low, high in trials)
    assert 0.93 <= held <= 0.97  # plain percentiles: 0.90


def test_seeds_alone_reach_from_their_worst_to_their_best_draw():
    # Two of three seeds are drawn: twice the least in a ninth of the draws, twice the greatest in another ninth.
    a, b = np.repeat([[0.1], [0.2], [0.6]], 40, axis=1), np.zeros((1, 40))
    assert interval(a, b) == pytest.approx((0.1, 0.6))
    # Two sides of two seeds: one of each is drawn.
    assert interval(a[1:], a[:2]) == pytest.approx((0.0, 0.5))


def test_drawn_seeds_vary_as_the_mean_over_seeds_does():
    weights = statistics._seed_weights(3, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    seeds = np.array([0.1, 0.2, 0.6])
    assert (weights @ seeds).var() == pytest.approx(seeds.var(ddof=1) / 3, rel=0.05)


def test_swapping_the_sides_turns_every_sign():
    a, b = noisy(3, 200, mean=0.55, of_seeds=0.02, seed=1), noisy(2, 200, of_seeds=0.02, seed=2)
    a[1, 7] = NAN
    there, back = paired(a, b), paired(b, a)
    assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
    assert (back.wins, back.losses, back.ties, back.queries) == (there.losses, there.wins, there.ties, 199)
    assert back.p_value == there.p_value
    assert (there.verdict, back.verdict) == ("better", "worse")


def test_the_order_of_queries_and_seeds_changes_nothing_but_their_places():
    a, b = noisy(3, 60, mean=0.6, seed=1), noisy(3, 60, seed=2)
    order = np.random.default_rng(0).permutation(60)
    there, shuffled = paired(a, b), paired(a[:, order], b[:, order])
    assert (shuffled.low, shuffled.high) == pytest.approx((there.low, there.high))
    np.testing.assert_allclose(shuffled.per_query, there.per_query[order])
    width = there.high - there.low
    assert interval(a[::-1], b) == pytest.approx((there.low, there.high), abs=0.05 * width)


def test_the_same_seed_gives_the_same_numbers_and_another_one_nearly():
    a, b = noisy(2, 100, seed=1), noisy(2, 100, seed=2)
    assert interval(a, b) == interval(a, b)
    other = interval(a, b, seed=1)
    assert other != interval(a, b)
    assert other == pytest.approx(interval(a, b), abs=0.01)


def test_queries_that_any_seed_lacks_are_left_out_of_both_sides():
    a, b = noisy(2, 50, mean=0.6, seed=1), noisy(2, 50, seed=2)
    short = interval(a[:, 3:], b[:, 3:])
    a[0, 0], b[1, 1], a[:, 2] = NAN, NAN, NAN
    found = paired(a, b)
    assert (found.queries, np.flatnonzero(np.isnan(found.per_query)).tolist()) == (47, [0, 1, 2])
    assert (found.low, found.high) == short


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = {"hierarchical": 0, "queries alone": 0}
    for trial in range(200):
        a, b = (noisy(3, 100, of_seeds=0.03, of_queries=0.3, seed=2 * trial + side) for side in (0, 1))
        for name, sides in (
            ("hierarchical", (a, b)),
            ("queries alone", (a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True))),
        ):
            low, high = interval(*sides, resamples=200)
            held[name] += low <= 0 <= high
    assert 0.85 * 200 < held["hierarchical"] <= 0.99 * 200
    assert held["queries alone"] < held["hierarchical"] - 10


def test_memory_does_not_grow_with_queries_times_resamples():
    a, b = noisy(2, 20_000, seed=1), noisy(2, 20_000, seed=2)
    tracemalloc.start()
    paired(a, b, resamples=600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 70e6  # all counts at once are 96 MB, all signs another 96


def test_what_is_not_of_the_same_queries_is_refused():
    with pytest.raises(ValueError, match=r"same queries, got \(1, 3\) and \(1, 4\)"):
        paired(np.zeros((1, 3)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="same queries"):
        paired(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="none of the 2 queries"):
        paired(np.array([[NAN, 1.0]]), np.array([[1.0, NAN]]))
