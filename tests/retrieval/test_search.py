import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import search as module
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.search import search


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    top=st.sampled_from([1, 3, 13, 40]),
    at_once=st.sampled_from([1, 60, 2**23]),
    metric=st.sampled_from(["dot", "euclidean", "hamming"]),
    kind=st.sampled_from(["coarse", "fine", "near", "equal"]),
    rows=st.sampled_from([1, 3]),
    labels=st.booleans(),
)
def test_search_returns_the_head_of_the_slow_ranking(
    make_case, slow_rankings, seed, top, at_once, metric, kind, rows, labels
):
    case = make_case(seed, images=14, metric=metric, kind=kind, rows=rows, labels=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_SCORES", at_once)
        found = search(case.query, case.gallery, top=top, truth=case.truth)
    assert found.query.tolist() == case.truth.query.tolist()
    for i, ranking in enumerate(slow_rankings(case)):
        n = min(top, len(ranking))
        assert found.image[i, :n].tolist() == [image for image, _ in ranking[:n]]
        assert found.score[i, :n].tolist() == [score for _, score in ranking[:n]]
        assert (found.image[i, n:] == -1).all()
        assert np.isneginf(found.score[i, n:]).all()


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
