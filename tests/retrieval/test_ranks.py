import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_cases import DIMENSIONS, OPTIONS

from retrieval_bench.retrieval import counting
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.ranks import RelevantRanks, rank_relevant

CASES = OPTIONS | DIMENSIONS


def assert_same(a: RelevantRanks, b: RelevantRanks):
    np.testing.assert_array_equal(a.ranks.offsets, b.ranks.offsets)
    np.testing.assert_array_equal(a.ranks.values, b.ranks.values)
    for name in ("above", "tied", "tied_relevant", "ranked"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), block=st.sampled_from([1, 5, 7, 40]), options=st.fixed_dictionaries(CASES))
def test_ranks_and_ties_equal_those_of_plain_loops_for_any_block(make_case, slow_rankings, seed, block, options):
    case = make_case(seed, images=14, **options)
    ranks = rank_relevant(case.query, case.gallery, case.truth, block=block)
    for i, ranking in enumerate(slow_rankings(case)):
        positives = set(case.truth.positives[i].tolist())
        expected = [r for r, (image, _) in enumerate(ranking) if image in positives]
        own = slice(ranks.ranks.offsets[i], ranks.ranks.offsets[i + 1])
        assert ranks.ranks[i].tolist() == expected
        assert ranks.ranked[i] == len(ranking)
        for r, above, tied, relevant in zip(
            expected, ranks.above[own], ranks.tied[own], ranks.tied_relevant[own], strict=True
        ):
            score = ranking[r][1]
            assert above == sum(s > score for _, s in ranking)
            assert tied == sum(s == score for _, s in ranking)
            assert relevant == sum(s == score and image in positives for image, s in ranking)


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_near_ties_that_float32_orders_wrongly_are_ordered_by_float64(make_case, metric):
    case = make_case(3, kind="near", images=300, dimension=512, classes=10, metric=metric)
    x = case.gallery.select(case.truth.gallery).data.numpy().astype(np.float64)
    exact = x @ x.T if metric == "dot" else -((x[:, None] - x[None]) ** 2).sum(-1)
    coarse = torch.from_numpy(x).float() @ torch.from_numpy(x).float().T
    np.fill_diagonal(exact, -np.inf)
    order = np.argsort(-exact, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    # The case is hard: a float32 product orders many of these images in another way.
    assert (np.argsort(-coarse.numpy(), axis=1, kind="stable") != order).mean() > 0.1
    place = {int(image): i for i, image in enumerate(case.truth.gallery)}
    found = rank_relevant(case.query, case.gallery, case.truth, block=128).ranks
    for i, positives in enumerate(case.truth.positives):
        assert found[i].tolist() == sorted(rank[i, place[int(p)]] for p in positives)


@pytest.mark.parametrize("kind", ["fine", "near", "equal"])
def test_block_and_order_of_extraction_change_nothing(make_case, kind):
    case = make_case(5, kind=kind, images=70, dimension=65, rows=2)
    first = rank_relevant(case.query, case.gallery, case.truth)
    for block in (9, 31):
        order = torch.randperm(len(case.gallery), generator=torch.Generator().manual_seed(block))
        again = Descriptors(case.gallery.data[order], case.gallery.image[order])
        assert_same(rank_relevant(again, again, case.truth, block=block), first)


def test_the_number_of_threads_changes_nothing(make_case):
    case = make_case(9, kind="fine", images=300, dimension=129)
    threads, results = torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        try:
            results.append(rank_relevant(case.query, case.gallery, case.truth, block=200))
        finally:
            torch.set_num_threads(threads)
    assert_same(*results)


def test_reduced_precision_of_the_surrounding_program_changes_nothing(make_case):
    case = make_case(6, kind="fine", images=200, dimension=64)
    first = rank_relevant(case.query, case.gallery, case.truth)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(rank_relevant(case.query, case.gallery, case.truth), first)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_crowd_of_near_ties_is_screened_again_in_float64(make_case, monkeypatch):
    case = make_case(7, kind="near", images=90, dimension=128)
    first = rank_relevant(case.query, case.gallery, case.truth)
    precisions = []
    screened = counting.Comparison.screened

    def spy(self, query, gallery, precision):
        precisions.append(precision)
        return screened(self, query, gallery, precision)

    monkeypatch.setattr(counting.Comparison, "screened", spy)
    assert_same(rank_relevant(case.query, case.gallery, case.truth), first)
    assert "float64" in precisions
    monkeypatch.setattr(counting, "_CROWDED", 2.0)  # never
    precisions.clear()
    assert_same(rank_relevant(case.query, case.gallery, case.truth), first)
    assert set(precisions) == {"float32"}


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_without_ties_the_gallery_may_come_in_any_order(make_case, seed):
    case = make_case(seed, kind="fine", dimension=16)
    order = np.random.default_rng(seed).permutation(len(case.truth.gallery))
    moved = GroundTruth(case.truth.query, case.truth.gallery[order], case.truth.positives, case.truth.junk)
    assert_same(rank_relevant(case.query, case.gallery, moved), rank_relevant(case.query, case.gallery, case.truth))


def test_very_large_and_very_small_descriptors_are_ranked():
    x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.1, 1.0]])
    truth = GroundTruth.from_labels([0, 1, 0, 1], np.arange(4), np.arange(4), exclude_self=True)
    plain = rank_relevant(*[Descriptors(x, torch.arange(4))] * 2, truth)
    assert plain.ranks.values.tolist() == [1, 2, 0, 1]
    for scale in (1e-30, 1e17):
        assert_same(rank_relevant(*[Descriptors(x * scale, torch.arange(4))] * 2, truth), plain)


def test_a_positive_that_is_junk_for_the_query_is_junk():
    x = torch.eye(3)
    truth = GroundTruth(np.array([0]), np.arange(3), RaggedLists.from_lists([[1, 2]]), RaggedLists.from_lists([[0, 1]]))
    ranks = rank_relevant(*[Descriptors(x, torch.arange(3))] * 2, truth)
    assert ranks.ranks.values.tolist() == [0]
    assert ranks.ranked.tolist() == [1]


def test_junk_outside_the_gallery_is_no_error_but_a_positive_outside_is():
    d = Descriptors(torch.eye(3), torch.arange(3))
    none, two = RaggedLists.from_lists([[]]), RaggedLists.from_lists([[2]])
    outside = GroundTruth(np.array([0]), np.array([0, 1]), none, two)
    assert rank_relevant(d, d, outside).ranked.tolist() == [2]
    with pytest.raises(ValueError, match="1 positive images are not in the gallery, the first is 2"):
        rank_relevant(d, d, GroundTruth(np.array([0]), np.array([0, 1]), two, none))


def test_an_image_twice_in_the_gallery_is_an_error():
    d = Descriptors(torch.eye(3), torch.arange(3))
    none = RaggedLists.from_lists([[]])
    with pytest.raises(ValueError, match="listed in the gallery twice"):
        rank_relevant(d, d, GroundTruth(np.array([0]), np.array([1, 2, 1]), none, none))


def test_no_queries_give_no_ranks():
    d = Descriptors(torch.eye(3), torch.arange(3))
    ranks = rank_relevant(d, d, GroundTruth.from_labels([0, 0, 1], [], np.arange(3), exclude_self=True))
    assert len(ranks.ranks) == 0


def test_optimistic_and_pessimistic_ties_move_positives_to_the_ends_of_their_group(make_case, slow_rankings):
    for seed in range(10):
        case = make_case(seed, kind="coarse", dimension=2, images=30, classes=3)
        ranks = rank_relevant(case.query, case.gallery, case.truth)
        for order, sign in (("optimistic", -1), ("pessimistic", 1)):
            moved = ranks.with_ties(order)
            for i, ranking in enumerate(slow_rankings(case)):
                positives = set(case.truth.positives[i].tolist())
                again = sorted(ranking, key=lambda pair: (-pair[1], sign * (pair[0] in positives)))
                assert moved.ranks[i].tolist() == [r for r, (x, _) in enumerate(again) if x in positives]
        assert ranks.with_ties("index") is ranks


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("metric", ["dot", "euclidean", "hamming"])
@pytest.mark.parametrize("kind", ["fine", "near"])
def test_a_cuda_device_gives_the_same_ranks(make_case, metric, kind):
    case = make_case(8, metric=metric, kind=kind, images=400, dimension=64, rows=2)
    on_cpu = rank_relevant(case.query, case.gallery, case.truth, device="cpu")
    assert_same(rank_relevant(case.query, case.gallery, case.truth, device="cuda", block=100), on_cpu)
