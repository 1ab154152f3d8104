import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import hamming_metrics
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate_images
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.hamming import DistanceCounts, count_distances
from retrieval_bench.retrieval.metrics import metric
from retrieval_bench.retrieval.protocol import Protocol

GROUPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=9)
EXTREMES = {
    "optimistic": hamming_metrics.optimistic_average_precision,
    "pessimistic": hamming_metrics.pessimistic_average_precision,
}


def counts(*queries):
    """Counts of queries given as (images, positives) at the distances 0, 1, 2, ..."""
    groups = np.array(queries, np.int64)
    return DistanceCounts(groups[..., 0], groups[..., 1])


def loop_average_precision(relevant):
    hits, total = 0, 0.0
    for i, good in enumerate(relevant, 1):
        hits += good
        total += hits / i if good else 0.0
    return total / sum(relevant)


def test_expected_average_precision_of_one_pair_with_one_positive():
    assert hamming_metrics.expected_average_precision(counts([(2, 1)]))[0] == 0.75


def test_equal_codes_everywhere_give_the_mean_over_all_orders():
    # Three images, one of them a positive, at one distance: (1 + 1/2 + 1/3) / 3.
    same = counts([(0, 0), (3, 1)])
    assert hamming_metrics.expected_average_precision(same)[0] == pytest.approx(11 / 18, abs=1e-15)
    assert hamming_metrics.optimistic_average_precision(same)[0] == 1
    assert hamming_metrics.pessimistic_average_precision(same)[0] == pytest.approx(1 / 3, abs=1e-15)


@settings(deadline=None, max_examples=100)
@given(groups=GROUPS)
def test_expected_average_precision_equals_the_sum_over_places(groups):
    groups = [(n, min(n, r)) for n, r in groups]
    total, before, relevant = 0.0, 0, 0
    for n, r in groups:
        for i in range(1, n + 1):
            mates = (i - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
            total += r / n * (relevant + 1 + mates) / (before + i)
        before, relevant = before + n, relevant + r
    value = hamming_metrics.expected_average_precision(counts(groups))[0]
    assert np.isnan(value) if relevant == 0 else value == pytest.approx(total / relevant, rel=1e-13)


@settings(deadline=None, max_examples=100)
@given(groups=GROUPS)
def test_the_extremes_are_the_rankings_with_positives_first_and_last(groups):
    groups = [(n, min(n, r)) for n, r in groups]
    if not sum(r for _, r in groups):
        return
    first = [good for n, r in groups for good in [1] * r + [0] * (n - r)]
    last = [good for n, r in groups for good in [0] * (n - r) + [1] * r]
    for order, ranking in (("optimistic", first), ("pessimistic", last)):
        assert EXTREMES[order](counts(groups))[0] == pytest.approx(loop_average_precision(ranking), rel=1e-12)


def test_sums_of_reciprocals_are_exact_to_the_last_digits():
    rng = np.random.default_rng(0)
    before, terms = rng.integers(0, 100_000, 300), rng.integers(0, 2000, 300)
    before[:150] = rng.integers(0, 600, 150)  # where the table ends and the series begins
    runs = zip(before, terms, strict=True)
    exact = [float(np.sum(1 / np.arange(a + 1, a + n + 1, dtype=np.longdouble))) for a, n in runs]
    np.testing.assert_allclose(hamming_metrics._harmonic_sum(before, terms), exact, rtol=2e-13)


def test_large_groups_far_down_a_large_gallery_equal_the_sum_over_places():
    rng = np.random.default_rng(1)
    total = np.append(rng.integers(0, 4000, 60), [1, 2, 3])
    made = DistanceCounts(total[None], rng.binomial(total, 0.05)[None])
    value, hits, before = 0.0, 0, 0
    for n, r in zip(made.total[0], made.relevant[0], strict=True):
        place = np.arange(1, n + 1)
        value += float((r / max(n, 1) * (hits + 1 + (place - 1) * (r - 1) / max(n - 1, 1)) / (before + place)).sum())
        hits, before = hits + r, before + n
    assert hamming_metrics.expected_average_precision(made)[0] == pytest.approx(value / hits, rel=1e-12)


def codes_of(bits, queries=25, images=400, classes=6):
    rng = np.random.default_rng(5)
    label = rng.integers(0, classes, queries + images)
    centres = rng.integers(0, 2, (classes, bits), dtype=np.uint8)
    packed = np.packbits(centres[label] ^ (rng.random((len(label), bits)) < 0.3), axis=1)
    rows = np.arange(len(label))
    truth = GroundTruth.from_labels(label, rows[:queries], rows[queries:], exclude_self=False)
    return Descriptors(torch.from_numpy(packed), torch.from_numpy(rows), "hamming"), truth, label


def test_map_is_the_mean_over_a_thousand_random_orders_of_ties():
    codes, truth, label = codes_of(16)
    protocol = Protocol(
        dataset="made", name="up", ties="expected", metrics=("map", "map_optimistic", "map_pessimistic")
    )
    result = evaluate_images(codes, truth, protocol).metrics
    bits = np.unpackbits(codes.data.numpy(), axis=1)
    distance = (bits[truth.query][:, None] != bits[truth.gallery][None]).sum(2)
    relevant = label[truth.query][:, None] == label[truth.gallery][None]
    rng, means, place = np.random.default_rng(0), [], np.arange(1, len(truth.gallery) + 1)
    for _ in range(1000):
        order = np.argsort(distance + rng.random(distance.shape), axis=1)
        good = np.take_along_axis(relevant, order, 1)
        means.append(((good.cumsum(1) / place * good).sum(1) / good.sum(1)).mean())
    assert result["map"] == pytest.approx(np.mean(means), abs=4 * np.std(means) / np.sqrt(1000))
    assert result["map_pessimistic"] < min(means)
    assert max(means) < result["map_optimistic"]
    # The order of ties alone moves such short codes by points.
    assert result["map_optimistic"] - result["map_pessimistic"] > 0.05


def test_precision_and_recall_within_a_radius_by_hand():
    # At distances 0, 1, 2, 3: nothing; two images, one positive; two, both; four, none.
    made = counts([(0, 0), (2, 1), (2, 2), (4, 0)])
    assert [hamming_metrics.precision_within(made, r)[0] for r in range(5)] == [0, 0.5, 0.75, 3 / 8, 3 / 8]
    assert [hamming_metrics.recall_within(made, r)[0] for r in range(5)] == [0, 1 / 3, 1, 1, 1]


def test_a_query_that_finds_nothing_within_the_radius_has_precision_zero():
    made = counts([(0, 0), (0, 0), (3, 3)], [(1, 1), (0, 0), (2, 0)], [(2, 0), (1, 0), (1, 0)])
    values = hamming_metrics.precision_within(made, 1)
    assert values[:2].tolist() == [0, 1]
    assert np.isnan(values[2])  # it has no positive at all: nothing to measure
    assert np.isnan(hamming_metrics.recall_within(made, 1)[2])


def test_a_negative_radius_is_refused():
    for function in (hamming_metrics.precision_within, hamming_metrics.recall_within):
        with pytest.raises(ValueError, match="0 or more, got -1"):
            function(counts([(1, 1)]), -1)


def test_the_curve_runs_from_the_own_bucket_to_the_whole_gallery():
    codes, truth, label = codes_of(24)
    made = count_distances(codes, codes, truth)
    precision, recall = hamming_metrics.precision_recall_curve(made)
    assert precision.shape == recall.shape == (25,)
    for radius in (0, 2, 7, 24):
        assert precision[radius] == pytest.approx(hamming_metrics.precision_within(made, radius).mean())
        assert recall[radius] == pytest.approx(hamming_metrics.recall_within(made, radius).mean())
    assert (np.diff(recall) >= 0).all()
    assert recall[-1] == 1
    share = (label[truth.query][:, None] == label[truth.gallery][None]).mean()
    assert precision[-1] == pytest.approx(share)
    assert precision[5] > 2 * share


def test_queries_without_a_positive_are_no_part_of_the_curve():
    both = counts([(1, 1), (3, 1)], [(4, 0), (0, 0)])
    precision, recall = hamming_metrics.precision_recall_curve(both)
    assert precision.tolist() == [1, 0.5]
    assert recall.tolist() == [0.5, 1]
    with pytest.raises(ValueError, match="none of the 1 queries has a positive"):
        hamming_metrics.precision_recall_curve(counts([(4, 0)]))


def test_precision_within_a_radius_is_a_metric_of_codes_alone():
    codes, truth, _ = codes_of(16)
    key = "precision_within_2"
    for ties in ("index", "expected"):
        result = evaluate_images(codes, truth, Protocol(dataset="made", name="up", ties=ties, metrics=(key, "map")))
        expected = hamming_metrics.precision_within(count_distances(codes, codes, truth), 2)
        np.testing.assert_array_equal(result.per_query[key], expected)
        assert 0 < result.metrics[key] < 1
    vectors = Descriptors(torch.ones(len(codes), 3), codes.image)
    left = evaluate_images(vectors, truth, Protocol(dataset="made", name="up", metrics=("map", key)))
    assert set(left.metrics) == {"map"}
    with pytest.raises(ValueError, match=r"precision_within_2: only packed codes have that, not dot vectors"):
        evaluate_images(vectors, truth, Protocol(dataset="made", name="up", metrics=(key,)))


@pytest.mark.parametrize("key", ["precision_within_2_index", "precision_within_", "precision_within_-1"])
def test_a_misspelt_radius_is_named_with_what_exists(key):
    with pytest.raises(ValueError, match="precision_within_<radius>"):
        metric(key)
