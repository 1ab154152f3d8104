"""Query expansion and database augmentation: by hand, against loops, and what must leave everything as it is."""

import numpy as np
import pytest
import torch
from postprocessing_cases import MadeUpSources, clustered, order, take, unit

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.postprocessing import (
    DatabaseAugmentation,
    Diffusion,
    QueryExpansion,
    postprocess,
)


def expanded_by_loop(query, gallery, n, alpha):
    """Weighted means one vector at a time; gallery images that are the query itself have no similarity."""
    out = []
    for q in query.double().numpy():
        scores = gallery.double().numpy() @ q
        near = [j for j in np.argsort(-scores, kind="stable") if not np.array_equal(gallery[j].double().numpy(), q)][:n]
        total = q + sum(max(scores[j], 0) ** alpha * gallery[j].double().numpy() for j in near)
        out.append(total / np.linalg.norm(total))
    return np.stack(out)


def test_a_mean_by_hand_finds_what_the_query_alone_did_not():
    # The query finds image 0; their mean lies nearer to image 2 than to image 1.
    query, gallery = unit([1, 0, 0]), unit([4, 3, 0], [3, 0, 4], [0.5, 1, 0])
    assert order(take([], query, gallery)[0]).tolist() == [[0, 1, 2]]
    state, notes = take([QueryExpansion(n=1)], query, gallery)
    assert state.query.data[0].tolist() == pytest.approx([1.8 / 3.6**0.5, 0.6 / 3.6**0.5, 0], abs=1e-6)
    assert order(state).tolist() == [[0, 2, 1]]
    assert notes == ("average query expansion by the first 1, learned from no data",)


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.0), (10, 3.0), (3, 1.0)])
def test_expansion_agrees_with_a_loop(n, alpha):
    query, gallery = clustered(7, 12, 3, seed=1), clustered(40, 12, 3, seed=2)
    state, _ = take([QueryExpansion(n, alpha)], query, gallery)
    np.testing.assert_allclose(state.query.data, expanded_by_loop(query, gallery, n, alpha), atol=1e-6)
    np.testing.assert_array_equal(state.gallery.data, gallery)
    state, notes = take([DatabaseAugmentation(n, alpha)], query, gallery)
    np.testing.assert_allclose(state.gallery.data, expanded_by_loop(gallery, gallery, n, alpha), atol=1e-6)
    np.testing.assert_array_equal(state.query.data, query)
    assert ("α = " in notes[0]) == (alpha > 0)


def test_expanding_by_nothing_changes_nothing():
    query, gallery = clustered(5, 8, 3), clustered(20, 8, 3, seed=1)
    state, _ = take([DatabaseAugmentation(0), DatabaseAugmentation(0, 3.0), QueryExpansion(0)], query, gallery)
    assert torch.equal(state.query.data, query)
    assert torch.equal(state.gallery.data, gallery)


def test_a_query_whose_first_images_are_equal_to_it_stays_where_it_is():
    gallery = torch.cat([unit([3, 4, 0]).repeat(5, 1), clustered(20, 3, 4)])
    plain, expanded = (take(steps, gallery[:1], gallery)[0] for steps in ([], [QueryExpansion(5)]))
    np.testing.assert_array_equal(order(expanded), order(plain))
    torch.testing.assert_close(expanded.query.data, plain.query.data)


def test_a_query_that_is_excluded_from_its_ranking_does_not_expand_itself():
    data = clustered(30, 6, 4)
    state, _ = take([QueryExpansion(3)], data)
    np.testing.assert_allclose(state.query.data, expanded_by_loop(data, data, 3, 0), atol=1e-6)
    assert (order(state)[:, -1] == -1).all()
    assert all(i not in row for i, row in enumerate(order(state).tolist()))


def test_images_fewer_than_asked_for_are_all_taken():
    query, gallery = clustered(2, 4, 2), clustered(3, 4, 2, seed=1)
    few, many = (take([QueryExpansion(n), DatabaseAugmentation(n)], query, gallery)[0] for n in (3, 50))
    assert torch.equal(few.query.data, many.query.data)
    assert torch.equal(few.gallery.data, many.gallery.data)
    (itself,) = take([QueryExpansion(5)], query[:1])[0].query.data  # nothing to find besides
    torch.testing.assert_close(itself, query[0])


def test_opposite_images_weigh_nothing():
    state, _ = take([QueryExpansion(2, alpha=3.0)], unit([1, 0]), unit([1, 0], [-1, 0.1]))
    assert state.query.data.tolist() == [[1, 0]]


def test_descriptors_are_not_changed_behind_a_ranking():
    data = clustered(12, 4, 2)
    with pytest.raises(ValueError, match=r"average database augmentation by the nearest 10 .*before the steps"):
        take([Diffusion(), DatabaseAugmentation()], data)


@pytest.mark.parametrize(
    ("descriptors", "message"),
    [
        (Descriptors(torch.eye(3), torch.arange(3), "euclidean"), "compared by euclidean distance"),
        (Descriptors(2 * torch.eye(3), torch.arange(3)), "lengths from 2 to 2"),
        (Descriptors(torch.eye(3), torch.tensor([0, 1, 1])), "are several an image"),
    ],
)
def test_other_descriptors_are_refused(descriptors, message):
    images = descriptors.image.unique().numpy()
    with pytest.raises(ValueError, match=message):
        postprocess([QueryExpansion()], descriptors, images, images, exclude_self=True, sources=MadeUpSources())


@pytest.mark.parametrize("make", [lambda: QueryExpansion(-1), lambda: DatabaseAugmentation(3, -1.0)])
def test_negative_numbers_are_refused(make):
    with pytest.raises(ValueError, match="at least 0"):
        make()
