import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import hamming, ranks
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate, evaluate_images
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.hamming import code_blocks, count_distances
from retrieval_bench.retrieval.metrics import metric
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.similarity import Comparison

CASES = {
    "metric": st.just("hamming"),
    "kind": st.sampled_from(["coarse", "fine"]),
    "rows": st.sampled_from([1, 3]),
    "shared": st.booleans(),
    "labels": st.booleans(),
    # One, two and four bytes are one word; 40 bits need zeros; 264 bits exceed a byte's distances.
    "dimension": st.sampled_from([1, 2, 3, 4, 5, 8, 11, 16, 33]),
}
FIELDS = ("positives", "above", "tied", "tied_relevant", "ranked")


def assert_same_ranks(a, b):
    np.testing.assert_array_equal(a.ranks.offsets, b.ranks.offsets)
    np.testing.assert_array_equal(a.ranks.values, b.ranks.values)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def by_levels(case):
    """The way of all other metrics, which knows nothing of histograms."""
    return ranks.rank_by_levels(case.query, case.gallery, case.truth, 64, None)


def noisy_codes(queries, images, bits, classes=10, flipped=0.3, seed=0):
    """Queries and a gallery whose codes scatter around one code a class, as a trained network's do."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, queries + images)
    centres = rng.integers(0, 2, (classes, bits), dtype=np.uint8)
    codes = np.packbits(centres[label] ^ (rng.random((len(label), bits)) < flipped), axis=1)
    rows = np.arange(len(label))
    truth = GroundTruth.from_labels(label, rows[:queries], rows[queries:], exclude_self=False)
    return Descriptors(torch.from_numpy(codes), torch.from_numpy(rows), "hamming"), truth


def test_distances_of_hand_worked_codes():
    # 00000000 against 00000000, 00000001, 11111111, 10000001 and 00000001.
    query = Descriptors(torch.tensor([[0]], dtype=torch.uint8), torch.tensor([9]), "hamming")
    gallery = Descriptors(torch.tensor([[0], [1], [255], [129], [1]], dtype=torch.uint8), torch.arange(5), "hamming")
    truth = GroundTruth(
        np.array([9]), np.arange(5), RaggedLists.from_lists([[2, 1, 2]]), RaggedLists.from_lists([[4, 77]])
    )
    counts = count_distances(query, gallery, truth)
    assert counts.total.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 1]]  # the junk image 4 is not counted
    assert counts.relevant.tolist() == [[0, 1, 0, 0, 0, 0, 0, 0, 1]]  # image 2, listed twice, is one positive
    assert counts.positives.tolist() == [2]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), block=st.sampled_from([1, 5, 40]), options=st.fixed_dictionaries(CASES))
def test_counts_equal_those_of_plain_loops_for_any_block(make_case, slow_rankings, seed, block, options):
    case = make_case(seed, images=14, **options)
    counts = count_distances(case.query, case.gallery, case.truth, block=block)
    bits = 8 * options["dimension"]
    for i, ranking in enumerate(slow_rankings(case)):
        positives = set(case.truth.positives[i].tolist())
        distances = [int(-score) for _, score in ranking]
        near = [int(-score) for image, score in ranking if image in positives]
        assert counts.total[i].tolist() == [distances.count(d) for d in range(bits + 1)]
        assert counts.relevant[i].tolist() == [near.count(d) for d in range(bits + 1)]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), block=st.sampled_from([1, 7, 64]), options=st.fixed_dictionaries(CASES))
def test_ranks_equal_those_counted_level_by_level(make_case, seed, block, options):
    case = make_case(seed, images=30, **options)
    found = ranks.rank_relevant(case.query, case.gallery, case.truth, block=block)
    assert_same_ranks(found, by_levels(case))


@pytest.mark.parametrize("bits", [16, 64, 272])
def test_larger_sets_give_the_same_ranks_and_need_no_slow_path(bits, monkeypatch):
    codes, truth = noisy_codes(60, 3000, bits)
    slow = ranks.rank_by_levels(codes, codes, truth, 512, None)
    monkeypatch.setattr(ranks, "count_above", None)  # whoever calls it fails
    assert_same_ranks(ranks.rank_relevant(codes, codes, truth), slow)
    assert slow.tied.max() > 1


def test_large_galleries_are_compared_with_fewer_queries_at_once(monkeypatch):
    codes, truth = noisy_codes(50, 400, 40)
    whole = count_distances(codes, codes, truth)
    monkeypatch.setattr(hamming, "_MOST_DISTANCES", 3000)
    monkeypatch.setattr(hamming, "_WORD_TILE", 64)
    rows = [rows for rows, _ in code_blocks(codes, codes, truth)]
    assert [r.stop - r.start for r in rows] == [7] * 7 + [1]
    parts = count_distances(codes, codes, truth)
    np.testing.assert_array_equal(parts.total, whole.total)
    np.testing.assert_array_equal(parts.relevant, whole.relevant)
    monkeypatch.setattr(hamming, "_MOST_DISTANCES", 1)  # a single query is always possible
    np.testing.assert_array_equal(count_distances(codes, codes, truth).total, whole.total)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), options=st.fixed_dictionaries(CASES))
def test_products_of_signs_give_the_distances_of_population_counts(make_case, seed, options):
    case = make_case(seed, images=20, **options)
    comparison = Comparison.of(case.query, case.gallery, case.truth.query, case.truth.gallery)
    rows, bits = slice(2, 6), 8 * options["dimension"]
    by_words = hamming._by_words(comparison, rows, hamming._words(comparison.gallery.data), bits)
    by_products = hamming._by_products(comparison, rows, bits)
    assert by_products.dtype == by_words.dtype
    assert torch.equal(by_products, by_words)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), options=st.fixed_dictionaries(CASES))
def test_the_way_of_other_devices_counts_and_ranks_as_that_of_the_cpu(make_case, seed, options):
    case = make_case(seed, images=20, **options)
    for _, codes in code_blocks(case.query, case.gallery, case.truth):
        assert torch.equal(codes._totals(), codes._totals_by_row())
        relevant = torch.rand(codes._distances.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        rows, block = (way(codes._distances, relevant) for way in (hamming._sorted_rows, hamming._sorted_block))
        assert all(torch.equal(a, b) for a, b in zip(rows, block, strict=True))


def test_opposite_codes_are_as_far_apart_as_there_are_bits():
    for size in (1, 8, 31, 32, 40):
        data = torch.stack([torch.zeros(size, dtype=torch.uint8), torch.full((size,), 255, dtype=torch.uint8)])
        codes = Descriptors(data, torch.arange(2), "hamming")
        truth = GroundTruth.from_labels([0, 0], [0], [0, 1], exclude_self=True)
        counts = count_distances(codes, codes, truth)
        assert counts.total.nonzero()[1].tolist() == [8 * size]
        assert counts.relevant.shape == (1, 8 * size + 1)


def test_faiss_finds_as_many_images_at_each_distance():
    faiss = pytest.importorskip("faiss")
    codes, truth = noisy_codes(40, 1500, 48)
    index = faiss.IndexBinaryFlat(48)
    index.add(codes.data[truth.gallery].numpy())
    distances, places = index.search(codes.data[truth.query].numpy(), len(truth.gallery))
    counts = count_distances(codes, codes, truth)
    for i in range(40):
        good = np.isin(truth.gallery[places[i]], truth.positives[i])
        np.testing.assert_array_equal(np.bincount(distances[i], minlength=49), counts.total[i])
        np.testing.assert_array_equal(np.bincount(distances[i][good], minlength=49), counts.relevant[i])


def test_vectors_and_codes_of_other_lengths_are_refused():
    codes, truth = noisy_codes(5, 20, 16)
    vectors = Descriptors(torch.zeros(25, 4), torch.arange(25))
    with pytest.raises(ValueError, match=r"packed codes are needed .* got dot descriptors"):
        count_distances(vectors, vectors, truth)
    longer = Descriptors(torch.zeros(25, 4, dtype=torch.uint8), torch.arange(25), "hamming")
    with pytest.raises(ValueError, match=r"queries \(hamming, 4 columns\) and gallery \(hamming, 2 columns\)"):
        count_distances(longer, codes, truth)
    lists = RaggedLists.from_lists([[5], [3], [], [], []])
    wrong = GroundTruth(truth.query, truth.gallery, lists, truth.junk)
    with pytest.raises(ValueError, match="1 positive images are not in the gallery, the first is 3"):
        count_distances(codes, codes, wrong)


KEYS = (
    *("map", "map_index", "map_optimistic", "map_pessimistic"),
    *(
        "map_oxford_index",
        "map_at_r_pessimistic",
        "r_precision_optimistic",
        "recall_at_1_index",
        "precision_at_10_index",
    ),
)


@pytest.mark.parametrize("shared", [True, False])
def test_every_metric_equals_the_one_of_the_slow_path_block_by_block(make_case, shared):
    case = make_case(4, metric="hamming", dimension=2, images=90, classes=5, rows=2, shared=shared)
    protocol = Protocol(dataset="made", name="up", ties="expected", metrics=KEYS)
    slow = by_levels(case)
    for block in (7, 1024):
        result = evaluate(case.query, case.gallery, case.truth, protocol, block=block)
        assert tuple(result.per_query) == KEYS
        for key, values in result.per_query.items():
            expected = metric(key, "expected").compute(slow)
            np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-14, err_msg=key)


def test_map_alone_makes_no_ranking(monkeypatch):
    codes, truth = noisy_codes(30, 500, 32)
    keys = ("map", "map_optimistic", "map_pessimistic", "precision_within_2")
    protocol = Protocol(dataset="made", name="up", ties="expected", metrics=keys)
    beside = Protocol(dataset="made", name="up", ties="expected", metrics=(*keys, "map_index"))
    with_ranks = evaluate_images(codes, truth, beside)
    monkeypatch.setattr(hamming.CodeBlock, "placed", None)
    alone = evaluate_images(codes, truth, protocol)
    for key in keys:
        np.testing.assert_array_equal(alone.per_query[key], with_ranks.per_query[key])
    assert alone.metrics["map_pessimistic"] < alone.metrics["map"] < alone.metrics["map_optimistic"]


def test_the_order_of_ties_is_that_of_the_gallery_whatever_the_order_of_extraction():
    codes, truth = noisy_codes(30, 500, 16)
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(3))
    again = Descriptors(codes.data[order], codes.image[order], "hamming")
    assert_same_ranks(ranks.rank_relevant(again, again, truth), ranks.rank_relevant(codes, codes, truth))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("bits", [16, 64, 272])
def test_a_cuda_device_gives_the_same_counts_and_ranks(bits):
    codes, truth = noisy_codes(60, 3000, bits)
    here, there = (count_distances(codes, codes, truth, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_array_equal(there.total, here.total)
    np.testing.assert_array_equal(there.relevant, here.relevant)
    on_cpu, on_cuda = (ranks.rank_relevant(codes, codes, truth, device=device) for device in ("cpu", "cuda"))
    assert_same_ranks(on_cuda, on_cpu)
