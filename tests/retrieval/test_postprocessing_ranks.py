"""Ranks and scores where the first images stand in an order of their own: against a walk down the whole ranking."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.ranks import rank_relevant
from retrieval_bench.retrieval.reranked import rank_reranked

METRICS = ("map_oxford", "map", "recall_at_1", "precision_at_5", "map_oxford_pessimistic")
PROTOCOL = Protocol(dataset="made", name="up", metrics=METRICS)


def problem(scores, positives, junk):
    """Query i scores ``scores[i][j]`` with gallery image j; images are numbered behind the queries."""
    scores = torch.tensor(scores, dtype=torch.float32)
    queries, images = scores.shape
    lists = (RaggedLists.from_lists([[queries + x for x in one] for one in kind]) for kind in (positives, junk))
    truth = GroundTruth(np.arange(queries), np.arange(queries, queries + images), *lists)
    query = Descriptors(torch.eye(queries), torch.arange(queries))
    return query, Descriptors(scores.T.contiguous(), torch.arange(queries, queries + images)), truth


def test_ranks_by_hand():
    # Descriptors say 0 1 2 3 4 5; images 4, 2 and 5 are put first, so that 0 1 3 follow. Image 2 is junk.
    query, gallery, truth = problem([[9, 8, 7, 6, 5, 4]], [[4, 3, 0]], [[2]])
    ranks = rank_reranked(np.array([[4, 2, 5, -1]]), query, gallery, truth)
    assert ranks.ranks.values.tolist() == [0, 2, 4]
    assert ranks.ranked.tolist() == [5]
    found = evaluate(query, gallery, truth, PROTOCOL, first=np.array([[4, 2, 5]]))
    assert found.per_query["map"][0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.metrics["recall_at_1"] == 1


def test_ties_behind_the_first_images_stay_ties():
    query, gallery, truth = problem([[5, 5, 5, 5]], [[1, 3]], [[]])
    ranks = rank_reranked(np.array([[3]]), query, gallery, truth)
    assert ranks.ranks.values.tolist() == [0, 2]
    assert ranks.with_ties("optimistic").ranks.values.tolist() == [0, 1]
    assert ranks.with_ties("pessimistic").ranks.values.tolist() == [0, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_any_order_agrees_with_a_walk_down_the_ranking(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (3, 9))
    kinds = rng.integers(0, 4, (3, 9))
    query, gallery, truth = problem(scores.tolist(), *([np.flatnonzero(row == x) for row in kinds] for x in (1, 2)))
    first = np.stack([rng.permutation(9)[:k] for _ in range(3)])
    ranks = rank_reranked(first, query, gallery, truth)
    for i in range(3):
        behind = [j for j in np.argsort(-scores[i], kind="stable") if j not in first[i]]
        walk = [kinds[i, j] for j in [*first[i], *behind] if kinds[i, j] != 2]
        assert ranks.ranks[i].tolist() == np.flatnonzero(np.array(walk) == 1).tolist()
        assert ranks.ranked[i] == len(walk)


@pytest.mark.parametrize("k", [0, 3, 9])
def test_the_order_of_descriptors_put_first_changes_nothing(k):
    rng = np.random.default_rng(3)
    scores = rng.permutation(27).reshape(3, 9)
    query, gallery, truth = problem(scores.tolist(), [[1, 2], [0], [3, 8, 5]], [[0], [], [1]])
    plain = rank_relevant(query, gallery, truth)
    same = rank_reranked(np.argsort(-scores, axis=1)[:, :k], query, gallery, truth)
    for field in ("positives", "above", "tied", "tied_relevant", "ranked"):
        np.testing.assert_array_equal(getattr(same, field), getattr(plain, field))
    np.testing.assert_array_equal(same.ranks.values, plain.ranks.values)


@pytest.mark.parametrize("first", [[[0, 0]], [[6]], [[0], [1]], [0]])
def test_what_is_no_order_is_refused(first):
    query, gallery, truth = problem([[9, 8, 7, 6, 5, 4]], [[4]], [[]])
    with pytest.raises(ValueError, match="first images of"):
        rank_reranked(np.array(first), query, gallery, truth)
