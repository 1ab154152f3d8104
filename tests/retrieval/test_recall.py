import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_cases import DIMENSIONS, OPTIONS

from retrieval_bench.retrieval import recall, screening
from retrieval_bench.retrieval.counting import Pairs
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.metrics import recall_at_k
from retrieval_bench.retrieval.ranks import rank_relevant
from retrieval_bench.retrieval.recall import hits_at
from retrieval_bench.retrieval.screening import Screen
from retrieval_bench.retrieval.similarity import Comparison

KS = [1, 2, 3, 5, 8, 10, 50]
HAS_BFLOAT16 = screening.bfloat16_pays(torch.device("cpu"))
PRECISIONS = [
    "float32",
    pytest.param("bfloat16", marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 instructions")),
]


@pytest.fixture(params=PRECISIONS)
def precision(request, monkeypatch):
    monkeypatch.setattr(screening, "bfloat16_pays", lambda device: request.param == "bfloat16")
    return request.param


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    block=st.sampled_from([1, 5, 7, 40]),
    coarse=st.booleans(),
    most_near=st.sampled_from([0, 1, 4, 100]),
    options=st.fixed_dictionaries(OPTIONS | DIMENSIONS),
)
def test_the_short_way_gives_the_same_recall_as_all_ranks(make_case, seed, block, coarse, most_near, options):
    case = make_case(seed, images=16, **options)
    ranks = rank_relevant(case.query, case.gallery, case.truth)
    expected = np.stack([recall_at_k(ranks, k) for k in KS], 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "bfloat16_pays", lambda device: coarse and HAS_BFLOAT16)
        patch.setattr(recall, "_MOST_NEAR", most_near)
        found = hits_at(case.query, case.gallery, case.truth, KS, block=block)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shared", [True, False])
def test_the_short_way_agrees_on_clustered_unit_vectors(precision, make_case, shared):
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(700) % 150
    centres = torch.randn(150, 96, generator=generator)
    x = torch.nn.functional.normalize(centres[label] + 1.5 * torch.randn(700, 96, generator=generator))
    d = Descriptors(x, torch.arange(700))
    rows = np.arange(700)
    asking, searched = (rows, rows) if shared else (rows[:300], rows[300:])
    truth = GroundTruth.from_labels(label.numpy(), asking, searched, exclude_self=shared)
    ranks = rank_relevant(d, d, truth)
    found = hits_at(d, d, truth, KS, block=128)
    np.testing.assert_array_equal(found, np.stack([recall_at_k(ranks, k) for k in KS], 1))
    assert 0.3 < found[:, 0].mean() < 0.95  # neither trivial nor hopeless


def test_queries_with_few_images_near_their_level_are_not_counted_again(precision, make_case, monkeypatch):
    case = make_case(2, kind="near", images=60, dimension=40, classes=6)
    asked = []
    count = recall.count_above
    monkeypatch.setattr(recall, "count_above", lambda *args: asked.append(len(args[2])) or count(*args))
    found = []
    for most_near in (100, 3, 0):
        monkeypatch.setattr(recall, "_MOST_NEAR", most_near)
        found.append(hits_at(case.query, case.gallery, case.truth, KS, block=16))
    assert asked[0] == 0 < asked[1] <= asked[2]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([0.0, 3.0, 12.0]), dimension=st.sampled_from([3, 64, 300]))
def test_brackets_hold_the_exact_count(seed, spread, dimension):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, dimension, generator=generator)
    # Magnitudes far apart, but none that overflows float32 when multiplied.
    x *= torch.exp2(spread * torch.randn(60, dimension, generator=generator).clamp(-4, 4))
    rows = np.arange(60)
    d = Descriptors(x, torch.arange(60))
    comparison = Comparison.of(d, d, rows, rows)
    left, right = (g.flatten() for g in torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij"))
    exact = comparison.exact(left, right).view(60, 60)
    level = exact[torch.arange(60), torch.arange(60).roll(1)]
    none = torch.zeros(0, dtype=torch.int64)
    for coarse in {False, HAS_BFLOAT16}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(screening, "bfloat16_pays", lambda device, coarse=coarse: coarse)
            screen = Screen(comparison, Pairs(none, none), rows=25, columns=25)
            certain, possible = recall._Brackets(screen, level).count()
        assert (certain <= (exact > level[:, None]).sum(1)).all()
        assert (possible >= (exact >= level[:, None]).sum(1)).all()


def test_each_tile_of_a_symmetric_problem_is_computed_once(precision, make_case, monkeypatch):
    case = make_case(1, kind="fine", images=50, dimension=20)
    visited = []
    scores = Screen.scores
    monkeypatch.setattr(Screen, "scores", lambda self, i, j: visited.append((i, j)) or scores(self, i, j))
    hits_at(case.query, case.gallery, case.truth, [1], block=10)
    assert visited == [(i, j) for i in range(5) for j in range(i, 5)]
    visited.clear()
    lists = make_case(1, kind="fine", images=50, dimension=20, labels=False)
    hits_at(lists.query, lists.gallery, lists.truth, [1], block=10)
    assert len(visited) == 25


def test_a_ground_truth_that_is_not_symmetric_is_not_halved():
    pairs = Pairs(torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert screening._is_symmetric(pairs, 3)
    assert not screening._is_symmetric(Pairs(torch.tensor([0, 1]), torch.tensor([1, 2])), 3)


def test_duplicates_of_the_query_are_hits_and_the_query_is_not(precision):
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # 0 and 2 are of one class; 1, a copy of them, and 3 of another.
    truth = GroundTruth.from_labels([0, 1, 0, 1], np.arange(4), np.arange(4), exclude_self=True)
    found = hits_at(*[Descriptors(x, torch.arange(4))] * 2, truth, [1, 2, 3])
    # 0: its ranking is 1, 2, 3. 1: 0, 2, 3. 2: 0, 1, 3. 3: 0, 1, 2, all equal.
    np.testing.assert_array_equal(found, [[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]])


def test_k_beyond_the_gallery_finds_every_query_that_has_a_positive(precision):
    truth = GroundTruth.from_labels([0, 0, 1], np.arange(3), np.arange(3), exclude_self=True)
    found = hits_at(*[Descriptors(torch.eye(3), torch.arange(3))] * 2, truth, [2, 3, 100])
    np.testing.assert_array_equal(found[:2], np.ones((2, 3)))
    assert np.isnan(found[2]).all()


def test_no_query_with_a_positive_gives_no_value():
    truth = GroundTruth.from_labels([0, 1, 2], np.arange(3), np.arange(3), exclude_self=True)
    assert np.isnan(hits_at(*[Descriptors(torch.eye(3), torch.arange(3))] * 2, truth, [1])).all()
    assert math.isnan(hits_at(*[Descriptors(torch.eye(3), torch.arange(3))] * 2, truth, [1])[0, 0])
