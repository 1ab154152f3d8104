import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_cases import OPTIONS

from retrieval_bench.retrieval import nearest, screening
from retrieval_bench.retrieval import search as module
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.screening import Screen
from retrieval_bench.retrieval.search import search

HAS_BFLOAT16 = screening.bfloat16_pays(torch.device("cpu"))


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    top=st.sampled_from([1, 3, 13, 40]),
    limits=st.fixed_dictionaries(
        {
            (module, "_BLOCK"): st.sampled_from([1, 5, 8, 2048]),
            (module, "_MOST_PLACES"): st.sampled_from([0, 50]),
            (module, "_MOST_NEAR"): st.sampled_from([0, 1, 4, 128]),
            (module, "_MOST_COMPARED"): st.sampled_from([-9, 0, 9]),
            (module, "_MOST_SCORES"): st.sampled_from([1, 60, 2**23]),
            (nearest, "_MOST_HELD"): st.sampled_from([0, 20, 2**22]),
            (nearest, "_GROUPS_A_PLACE"): st.sampled_from([1, 6]),
        }
    ),
    coarse=st.booleans(),
    options=st.fixed_dictionaries(OPTIONS),
)
def test_search_returns_the_head_of_the_slow_ranking(make_case, slow_rankings, seed, top, limits, coarse, options):
    case = make_case(seed, images=14, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "bfloat16_pays", lambda device: coarse and HAS_BFLOAT16)
        for place, limit in limits.items():
            patch.setattr(*place, limit)
        found = search(case.query, case.gallery, top=top, truth=case.truth)
    assert found.query.tolist() == case.truth.query.tolist()
    for i, ranking in enumerate(slow_rankings(case)):
        n = min(top, len(ranking))
        assert found.image[i, :n].tolist() == [image for image, _ in ranking[:n]]
        assert found.score[i, :n].tolist() == [score for _, score in ranking[:n]]
        assert (found.image[i, n:] == -1).all()
        assert np.isneginf(found.score[i, n:]).all()


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request, monkeypatch):
    if request.param == "bfloat16" and not HAS_BFLOAT16:
        pytest.skip("no bfloat16 instructions")
    monkeypatch.setattr(screening, "bfloat16_pays", lambda device: request.param == "bfloat16")
    return request.param


@pytest.fixture
def searched_again(monkeypatch):
    """How many queries of each search had to be searched in float32, with all their scores held."""
    asked = []
    by_rows = module._by_rows
    monkeypatch.setattr(module, "_by_rows", lambda *args: asked.append(len(args[0].query)) or by_rows(*args))
    return asked


@pytest.mark.parametrize("shared", [True, False])
def test_the_same_bits_whatever_is_compared_at_once(precision, searched_again, monkeypatch, shared):
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(700) % 150
    centres = torch.randn(150, 96, generator=generator)
    x = torch.nn.functional.normalize(centres[label] + 1.5 * torch.randn(700, 96, generator=generator))
    x[300:303] = x[5]
    d, rows = Descriptors(x, torch.arange(700)), np.arange(700)
    asking, among = (rows, rows) if shared else (rows[:300], rows[300:])
    truth = GroundTruth.from_labels(label.numpy(), asking, among, exclude_self=shared)
    products = x.double().numpy()[asking] @ x.double().numpy()[among].T
    products[asking[:, None] == among] = -np.inf
    expected = among[np.argsort(-products.round(14), axis=1, kind="stable")[:, :10]]
    found, threads = [], torch.get_num_threads()
    try:
        for block, places, count in ((2048, 32, 1), (100, 32, 2), (37, 32, 1), (2048, 0, 2)):
            torch.set_num_threads(count)
            monkeypatch.setattr(module, "_BLOCK", block)
            monkeypatch.setattr(module, "_MOST_PLACES", places)
            monkeypatch.setattr(module, "_MOST_COMPARED", 0.1)
            found.append(search(d, d, top=10, truth=truth))
    finally:
        torch.set_num_threads(threads)
    assert searched_again == [len(asking)]  # by the last of them alone
    for ranking in found:
        np.testing.assert_array_equal(ranking.image, expected)
        np.testing.assert_array_equal(ranking.score, found[0].score)


def test_queries_that_many_images_are_near_are_searched_again_and_their_tiles_left_out(
    precision, searched_again, monkeypatch
):
    x = torch.nn.functional.normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)))
    x[20:] = x[20]
    d = Descriptors(x, torch.arange(60))
    monkeypatch.setattr(module, "_BLOCK", 10)
    monkeypatch.setattr(module, "_MOST_NEAR", 9)
    monkeypatch.setattr(module, "_MOST_COMPARED", 1)
    monkeypatch.setattr(nearest, "_MOST_HELD", 0)
    visited = []
    scores = Screen.scores
    monkeypatch.setattr(Screen, "scores", lambda self, i, j: visited.append((i, j)) or scores(self, i, j))
    # The gallery is a list of its own, so that a tile serves its rows alone.
    found = search(d, Descriptors(x, torch.arange(60)), top=3)
    assert found.image[20:].tolist() == [[20, 21, 22]] * 40
    assert found.image[:20, 0].tolist() == list(range(20))
    assert len(searched_again) == 1
    assert 40 <= searched_again[0] < 60
    by_tiles = visited[precision == "bfloat16" : 24 + (precision == "bfloat16")]  # before them, one to try bfloat16
    # All ten images of the third tile are equal, and ten are one too many: its queries see no other tile.
    assert by_tiles == [(i, j) for i in range(6) for j in range(6 if i < 2 else 3)]


def test_each_tile_of_a_symmetric_problem_is_computed_once(monkeypatch):
    monkeypatch.setattr(screening, "bfloat16_pays", lambda device: False)
    monkeypatch.setattr(module, "_BLOCK", 10)
    visited = []
    scores = Screen.scores
    monkeypatch.setattr(Screen, "scores", lambda self, i, j: visited.append((i, j)) or scores(self, i, j))
    d = Descriptors(torch.randn(45, 20, generator=torch.Generator().manual_seed(0)), torch.arange(45))
    search(d, d, top=3)
    assert visited == [(i, j) for i in range(5) for j in range(i, 5)]


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 instructions")
def test_descriptors_that_bfloat16_cannot_tell_apart_are_screened_in_float32(searched_again, monkeypatch):
    dtypes = set()
    scores = Screen.scores
    monkeypatch.setattr(
        Screen, "scores", lambda self, i, j: dtypes.add((i + j, scores(self, i, j).dtype)) or scores(self, i, j)
    )
    monkeypatch.setattr(module, "_BLOCK", 100)
    x = torch.nn.functional.normalize(1 + 0.01 * torch.randn(300, 16, generator=torch.Generator().manual_seed(0)))
    d = Descriptors(x, torch.arange(300))
    found = search(d, d, top=2)
    assert found.image[:, 0].tolist() == list(range(300))
    assert dtypes == {(0, torch.bfloat16), *((n, torch.float32) for n in range(5))}
    assert not searched_again


def test_without_ground_truth_every_image_asks_and_is_searched():
    d = Descriptors(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([7, 3, 5]))
    found = search(d, d, top=2)
    assert found.query.tolist() == [7, 3, 5]
    assert found.image.tolist() == [[7, 5], [3, 5], [5, 3]]
    assert found.boxes is None


def test_the_box_is_that_of_the_first_descriptor_that_gives_the_score():
    boxes = torch.arange(16.0).reshape(4, 4)
    gallery = Descriptors(
        torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 0, 0, 1]), boxes=boxes
    )
    query = Descriptors(torch.tensor([[1.0, 0.0]]), torch.tensor([9]))
    found = search(query, gallery, top=3)
    assert found.image.tolist() == [[0, 1, -1]]
    assert found.boxes is not None
    assert found.boxes[0, :2].tolist() == [boxes[1].tolist(), boxes[3].tolist()]
    assert np.isnan(found.boxes[0, 2]).all()


def test_the_query_is_left_out_by_index_though_a_copy_of_it_stays():
    d = Descriptors(torch.ones(3, 2), torch.arange(3))
    truth = GroundTruth.from_labels([0, 0, 0], np.arange(3), np.arange(3), exclude_self=True)
    assert search(d, d, top=2, truth=truth).image.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_top_below_one_is_an_error():
    d = Descriptors(torch.ones(3, 2), torch.arange(3))
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        search(d, d, top=0)


def test_no_query_finds_nothing():
    nobody = GroundTruth.from_labels([0, 0], np.arange(0), np.arange(2), exclude_self=False)
    d = Descriptors(torch.ones(2, 3), torch.arange(2))
    assert search(d, d, top=4, truth=nobody).image.shape == (0, 4)
