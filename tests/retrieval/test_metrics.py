import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import metrics
from retrieval_bench.retrieval.ground_truth import RaggedLists
from retrieval_bench.retrieval.ranks import RelevantRanks, rank_relevant


def untied(lists, positives=None):
    """Ranks of positives in rankings without equal scores."""
    ranks = RaggedLists.from_lists(lists)
    ones = np.ones(len(ranks.values), np.int64)
    positives = ranks.lengths if positives is None else np.array(positives)
    return RelevantRanks(ranks, positives, ranks.values, ones, ones, np.full(len(ranks), 1000))


def from_groups(groups):
    """Ranks of one query whose ranking has (images, positives) groups of equal scores, positives first in each."""
    ranks, above, tied, relevant, n = [], [], [], [], 0
    for images, positives in groups:
        ranks += range(n, n + positives)
        above += [n] * positives
        tied += [images] * positives
        relevant += [positives] * positives
        n += images
    arrays = (np.array(x, np.int64) for x in (above, tied, relevant))
    return RelevantRanks(RaggedLists.from_lists([ranks]), np.array([len(ranks)]), *arrays, np.array([n]))


def loop_average_precision(relevant):
    hits, total = 0, 0.0
    for i, good in enumerate(relevant, 1):
        hits += good
        total += hits / i if good else 0.0
    return total / sum(relevant)


@pytest.mark.parametrize(
    ("ranks", "positives", "expected"),
    [([0, 2], 2, 0.791667), ([1], 1, 0.25), ([2], 1, 1 / 6), ([0, 1, 2], 3, 1.0), ([0, 3], 3, 0.472222)],
)
def test_trapezoid_average_precision_equals_the_hand_worked_examples(ranks, positives, expected):
    value = metrics.average_precision_oxford(untied([ranks], [positives]))[0]
    assert value == pytest.approx(expected, abs=1e-6)


def test_rectangle_average_precision_of_the_same_ranking_is_higher():
    assert metrics.average_precision(untied([[0, 2]]))[0] == pytest.approx(0.833333, abs=1e-6)


def test_the_three_ways_to_divide_average_precision_at_k():
    # Positives at ranks 0 and 3 of 10; within K = 5 precision sums to 1 + 2/4 = 1.5.
    ranks = untied([[0, 3, 20, 30, 40, 50, 60, 70, 80, 90]])
    assert metrics.average_precision_at_k(ranks, 5)[0] == pytest.approx(1.5 / 5)
    assert metrics.average_precision_at_k(ranks, 20)[0] == pytest.approx(1.5 / 10)
    assert metrics.average_precision_at_r(ranks)[0] == pytest.approx(1.5 / 10)


def test_recall_precision_and_r_precision_by_hand():
    # Ranks count from 0: first positive third, R = 3, all positives within the first six.
    ranks = untied([[2, 4, 5]])
    assert [metrics.recall_at_k(ranks, k)[0] for k in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert [metrics.precision_at_k(ranks, k)[0] for k in (1, 3, 6, 1000)] == [0, 1 / 3, 1 / 2, 3 / 1000]
    assert metrics.r_precision(ranks)[0] == 1 / 3
    assert metrics.average_precision_at_r(ranks)[0] == pytest.approx(1 / 9)


def test_a_query_without_a_positive_has_no_value_and_is_left_out_of_the_mean():
    ranks = untied([[0], [], [1]])
    for key in ("recall_at_1", "precision_at_1", "map", "map_oxford", "map_at_r", "map_at_5", "r_precision"):
        assert np.isnan(metrics.metric(key).compute(ranks)).tolist() == [False, True, False]
    assert np.isnan(metrics.metric("map", "expected").compute(ranks)).tolist() == [False, True, False]
    assert metrics.mean(metrics.average_precision(ranks)) == 0.75
    with pytest.raises(ValueError, match="none of the 1 queries has a positive"):
        metrics.mean(metrics.average_precision(untied([[]])))


def test_expected_average_precision_of_one_pair_with_one_positive():
    assert metrics.expected_average_precision(from_groups([(2, 1)]))[0] == 0.75


@pytest.mark.parametrize("groups", [[(3, 1), (1, 1)], [(1, 0), (3, 2), (2, 1)], [(2, 2), (4, 1)], [(5, 3)], [(1, 1)]])
def test_expected_average_precision_is_the_mean_over_all_orders(groups):
    ways = [set(itertools.permutations([1] * r + [0] * (n - r))) for n, r in groups]
    # Each distinct arrangement of a group is equally likely.
    values = [loop_average_precision(sum(way, ())) for way in itertools.product(*ways)]
    assert metrics.expected_average_precision(from_groups(groups))[0] == pytest.approx(np.mean(values), abs=1e-12)


def test_expected_value_lies_between_pessimistic_and_optimistic_and_equals_random_orders(make_case, slow_rankings):
    case = make_case(1, metric="hamming", dimension=1, images=40, classes=3)
    ranks = rank_relevant(case.query, case.gallery, case.truth)
    low, index, expected, high = (
        metrics.mean(metrics.metric(key, "expected").compute(ranks))
        for key in ("map_pessimistic", "map_index", "map", "map_optimistic")
    )
    assert low < expected < high
    assert low <= index <= high
    rng, values = np.random.default_rng(0), []
    rankings = slow_rankings(case)
    for _ in range(300):
        for i, ranking in enumerate(rankings):
            positives = set(case.truth.positives[i].tolist())
            noise = rng.random(len(ranking))
            order = sorted(range(len(ranking)), key=lambda j: (-ranking[j][1], noise[j]))
            values.append(loop_average_precision([ranking[j][0] in positives for j in order]))
    assert expected == pytest.approx(np.mean(values), abs=4 * np.std(values) / np.sqrt(len(values)))


@settings(deadline=None, max_examples=60)
@given(groups=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_expected_average_precision_equals_the_closed_form_in_a_loop(groups):
    groups = [(n, min(n, r)) for n, r in groups]
    total, before, relevant = 0.0, 0, 0
    for n, r in groups:
        for i in range(1, n + 1):
            mates = (i - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
            total += r / n * (relevant + 1 + mates) / (before + i)
        before, relevant = before + n, relevant + r
    value = metrics.expected_average_precision(from_groups(groups))[0]
    assert np.isnan(value) if relevant == 0 else value == pytest.approx(total / relevant)


@settings(deadline=None, max_examples=60)
@given(positions=st.lists(st.sets(st.integers(0, 60), max_size=20), min_size=1, max_size=6))
def test_metrics_equal_plain_loops_lie_in_bounds_and_recall_grows_with_k(positions):
    positions = [sorted(p) for p in positions]
    ranks = untied(positions)
    for i, own in enumerate(positions):
        if not own:
            continue
        relevant = [r in own for r in range(61)]
        n = len(own)
        assert metrics.average_precision(ranks)[i] == pytest.approx(loop_average_precision(relevant))
        assert metrics.r_precision(ranks)[i] == pytest.approx(sum(relevant[:n]) / n)
        at_r = sum(sum(relevant[: r + 1]) / (r + 1) for r in range(n) if relevant[r]) / n
        assert metrics.average_precision_at_r(ranks)[i] == pytest.approx(at_r)
        # The published program's way: walk down the ranking, one trapezoid a step of recall.
        area, hits, old_recall, old_precision = 0.0, 0, 0.0, 1.0
        for r, good in enumerate(relevant):
            hits += good
            recall, precision = hits / n, hits / (r + 1)
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
        assert metrics.average_precision_oxford(ranks)[i] == pytest.approx(area)
        recalls = [metrics.recall_at_k(ranks, k)[i] for k in range(1, 70)]
        assert recalls == sorted(recalls)
        assert recalls[-1] == 1
        for key in ("map", "map_oxford", "map_at_r", "map_at_7", "precision_at_7", "r_precision"):
            assert 0 <= metrics.metric(key).compute(ranks)[i] <= 1


@pytest.mark.parametrize("key", ["recall_at_0", "recall_at_k", "recal_at_1", "map_at_", "", "map_expected", "accuracy"])
def test_an_unknown_metric_is_named_with_those_that_exist(key):
    with pytest.raises(ValueError, match=r"there is no metric .*recall_at_<k>.*map_oxford.*_optimistic") as error:
        metrics.metric(key)
    assert repr(key) in str(error.value)


def test_a_metric_without_an_expected_value_says_what_to_ask_for():
    with pytest.raises(ValueError, match="recall_at_1_index"):
        metrics.metric("recall_at_1", "expected")
    assert metrics.metric("recall_at_1_index", "expected").is_recall
    assert not metrics.metric("recall_at_1_optimistic").is_recall
    assert not metrics.metric("precision_at_1").is_recall


def test_expected_average_precision_splits_large_groups_without_changing_the_value(monkeypatch):
    ranks = from_groups([(4, 2), (30, 7), (1, 0), (2, 2), (50, 1)])
    whole = metrics.expected_average_precision(ranks)
    parts = metrics._parts
    monkeypatch.setattr(metrics, "_parts", lambda lengths, limit: parts(lengths, 5))
    assert len(metrics._parts(np.array([4, 30, 2, 50]), 0)) > 1
    np.testing.assert_allclose(metrics.expected_average_precision(ranks), whole, rtol=1e-14)
