"""Scores of landmark protocols: junk, ties, queries without positives, and precision up to the last positive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import metrics
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate_images
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.protocol import Protocol

METRICS = ("map_oxford", "map_oxford_optimistic", "map_oxford_pessimistic", "capped_precision_at_5", "precision_at_5")
PROTOCOL = Protocol(dataset="roxford5k", name="medium", self_match="keep", metrics=METRICS, main_metric="map_oxford")


def scored(scores, positives, junk):
    """Evaluate one-dimensional descriptors: query 0 of value 1 against a gallery of values that are the scores."""
    n = len(scores)
    data = torch.tensor([[1.0], *([s] for s in scores)])
    truth = GroundTruth(
        np.array([0]),
        np.arange(1, n + 1),
        RaggedLists.from_lists([[1 + x for x in positives]]),
        RaggedLists.from_lists([[1 + x for x in junk]]),
    )
    return evaluate_images(Descriptors(data, torch.arange(n + 1)), truth, PROTOCOL).metrics


def test_scores_by_hand():
    # Without junk (places 1 and 2) the positives stand at ranks 0 and 2 of 5.
    found = scored([9, 8, 7, 6, 5, 4, 3], [0, 4], [1, 2])
    assert found["map_oxford"] == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert found["capped_precision_at_5"] == pytest.approx(2 / 3)  # of the three up to the last positive
    assert found["precision_at_5"] == pytest.approx(2 / 5)


def test_a_query_with_few_positives_can_reach_one():
    assert scored([9, 8, 7, 6, 5, 4], [0, 1], [])["capped_precision_at_5"] == 1
    assert scored([9, 8, 7, 6, 5, 4], [5], [])["capped_precision_at_5"] == 0
    assert scored([9, 8, 7, 6, 5, 4], [0, 5], [])["capped_precision_at_5"] == pytest.approx(1 / 5)


def test_ties_are_bounded_from_both_sides():
    found = scored([9, 5, 5, 5, 1], [0, 2], [])
    best, index, worst = (found[f"map_oxford{x}"] for x in ("_optimistic", "", "_pessimistic"))
    assert best == 1
    assert index == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert worst == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)


def reference(relevant, junk, k):
    """One pass over a ranking, as a person would do it."""
    ranking = [r for r, j in zip(relevant, junk, strict=True) if not j]
    last = max(i for i, r in enumerate(ranking, 1) if r)
    seen = ranking[: min(k, last)]
    area, before, hits = 0.0, 1.0, 0
    for i, r in enumerate(ranking, 1):
        hits += r
        if r:
            area += (before + hits / i) / 2 / sum(ranking)
        before = hits / i
    return sum(seen) / len(seen), area


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("pjn"), min_size=1, max_size=25).filter(lambda kinds: "p" in kinds))
def test_scores_agree_with_a_walk_down_the_ranking(kinds):
    found = scored(
        list(range(len(kinds), 0, -1)),
        [i for i, kind in enumerate(kinds) if kind == "p"],
        [i for i, kind in enumerate(kinds) if kind == "j"],
    )
    precision, area = reference([kind == "p" for kind in kinds], [kind == "j" for kind in kinds], 5)
    assert found["capped_precision_at_5"] == pytest.approx(precision)
    assert found["map_oxford"] == pytest.approx(area)


def test_a_query_without_positives_is_left_out_of_the_mean():
    truth = GroundTruth(
        np.array([0, 1]), np.array([2, 3]), RaggedLists.from_lists([[2], []]), RaggedLists.from_lists([[], [3]])
    )
    vectors = Descriptors(torch.tensor([[1.0], [1.0], [5.0], [2.0]]), torch.arange(4))
    found = evaluate_images(vectors, truth, PROTOCOL)
    assert found.metrics["map_oxford"] == 1
    assert found.queries_without_positive == 1
    assert np.isnan(found.per_query["capped_precision_at_5"]).tolist() == [False, True]


def test_the_metric_is_found_by_its_key():
    assert metrics.metric("capped_precision_at_10").k == 10
    assert metrics.metric("capped_precision_at_10_pessimistic").k == 10
