"""Asymmetric distances: sums by hand, the least over an image's codes, and the whole way from codes to metrics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.errors import DescriptorError
from retrieval_bench.retrieval import adc, ranks
from retrieval_bench.retrieval.adc import nearest_distances, pair_distances
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.search import search

KEYS = ("map", "map_index", "map_optimistic", "map_pessimistic", "map_oxford_index", "recall_at_1_index")


def problem(seed=0, *, queries=5, images=40, rows=6, subspaces=3, codewords=4, coarse=True, query_rows=1):
    """Tables of whole numbers (many ties) or of any, and codes of images of 1 to ``rows`` rows, in any order."""
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, 5, (queries * query_rows, subspaces * codewords)).astype(np.float32)
    if not coarse:
        tables += rng.random(tables.shape, np.float32)
    image = np.repeat(np.arange(queries, queries + images), rng.integers(1, rows + 1, images))
    codes = rng.integers(0, codewords, (len(image), subspaces))
    order = torch.from_numpy(rng.permutation(len(image)))
    kind = torch.uint8 if codewords <= 256 else torch.int16
    boxes = torch.arange(4.0 * len(image)).view(-1, 4)
    gallery = Descriptors(torch.from_numpy(codes).to(kind)[order], torch.from_numpy(image)[order], "adc", boxes)
    query = Descriptors(torch.from_numpy(tables), torch.arange(queries).repeat_interleave(query_rows), "adc")
    marks = rng.integers(0, 5, (queries, images))
    searched = rng.permutation(np.arange(queries, queries + images))
    positives, junk = (RaggedLists.from_lists([searched[own == value] for own in marks]) for value in (0, 1))
    return query, gallery, GroundTruth(np.arange(queries), searched, positives, junk)


def slow_distance(table, code):
    """Table entries added in float32, from the first subspace to the last."""
    codewords, total = len(table) // len(code), np.float32(0)
    for m, number in enumerate(code.tolist()):
        total = np.float32(total + table[m * codewords + number].numpy())
    return float(total)


def slow_rankings(query, gallery, truth):
    """For each query ``(image, distance, row)`` by rising distance, equal ones in gallery order; plain loops."""
    rankings = []
    for i, image in enumerate(truth.query.tolist()):
        mine = query.data[query.image == image]
        junk, found = set(truth.junk[i].tolist()), []
        for other in truth.gallery.tolist():
            rows = (gallery.image == other).nonzero().flatten().tolist()
            least = min((slow_distance(t, gallery.data[row]), row) for t in mine for row in rows)
            if other not in junk:
                found.append((other, *least))
        rankings.append(sorted(found, key=lambda item: item[1]))
    return rankings


def test_sums_and_the_nearest_code_by_hand():
    tables = torch.tensor([[0.0, 1, 10, 20], [5, 0, 1, 3]])  # M = 2, K = 2
    codes = torch.tensor([[0, 0], [1, 1], [1, 0]], dtype=torch.uint8)
    assert pair_distances(tables, torch.tensor([0, 0, 0]), codes).tolist() == [10, 21, 11]
    assert pair_distances(tables, torch.tensor([1, 1, 1]), codes).tolist() == [6, 3, 1]
    assert nearest_distances(tables, codes, torch.tensor([1, 2])).tolist() == [[10, 11], [6, 1]]
    assert nearest_distances(tables, codes, torch.tensor([3])).tolist() == [[10], [1]]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.integers(1, 9),
    st.sampled_from([1, 2, 256, 300]),
    st.integers(0, 1000),
)
def test_distances_are_the_ordered_sums_to_the_last_bit(queries, lengths, subspaces, codewords, seed):
    g = torch.Generator().manual_seed(seed)
    tables = torch.randn(queries, subspaces * codewords, generator=g).square()
    kind = torch.uint8 if codewords <= 256 else torch.int16
    codes = torch.randint(0, codewords, (sum(lengths), subspaces), generator=g).to(kind)
    parts = tables.view(queries, subspaces, codewords)
    sums = torch.zeros(queries, len(codes))
    for m in range(subspaces):
        sums += parts[:, m, codes[:, m].long()]
    expected = torch.stack([part.amin(1) for part in sums.split(lengths, 1)], dim=1)
    assert torch.equal(nearest_distances(tables, codes, torch.tensor(lengths)), expected)
    pairs = torch.arange(queries).repeat_interleave(len(codes))
    assert torch.equal(pair_distances(tables, pairs, codes.repeat(queries, 1)), sums.flatten())


@pytest.mark.parametrize("lengths", [[7] * 30, [1] * 200, [200, 3, 3, 90, 1, 1, 1, 40]])
def test_neither_blocks_nor_threads_nor_company_change_a_distance(monkeypatch, lengths):
    g = torch.Generator().manual_seed(0)
    tables = torch.rand(40, 4 * 16, generator=g)
    codes = torch.randint(0, 16, (sum(lengths), 4), generator=g).to(torch.uint8)
    expected = nearest_distances(tables, codes, torch.tensor(lengths))
    threads = torch.get_num_threads()
    try:
        for size, count in ((1, 1), (2**5, 2), (2**9, 2), (2**13, 3)):
            monkeypatch.setattr(adc, "_SUMS_AT_ONCE", size)
            monkeypatch.setattr(adc, "_CODES_AT_ONCE", size)
            torch.set_num_threads(count)
            for company in (1, 3, 33, 40):
                found = [nearest_distances(part, codes, torch.tensor(lengths)) for part in tables.split(company)]
                assert torch.equal(torch.cat(found), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("queries", [1, 4, 5, 36])
def test_looking_up_alone_and_side_by_side_give_the_same_bits(monkeypatch, queries):
    g = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 9, (300,), generator=g)
    tables = torch.randn(queries, 8 * 300, generator=g)
    codes = torch.randint(0, 300, (int(lengths.sum()), 8), generator=g).to(torch.int16)
    found = []
    for few in (0, 31):
        monkeypatch.setattr(adc, "_FEW", few)
        found.append(nearest_distances(tables, codes, lengths))
    assert torch.equal(*found)


@pytest.mark.parametrize("queries", [0, 1, 40])
def test_no_image_and_no_query_are_no_distance(queries):
    none = nearest_distances(torch.rand(queries, 6), torch.empty(0, 2, dtype=torch.uint8), torch.empty(0).long())
    assert none.shape == (queries, 0)
    one = nearest_distances(torch.rand(queries, 6), torch.zeros(1, 2, dtype=torch.uint8), torch.tensor([1]))
    assert one.shape == (queries, 1)


def test_another_code_never_makes_an_image_farther_and_the_order_of_codes_changes_nothing():
    g = torch.Generator().manual_seed(1)
    tables = torch.rand(9, 3 * 8, generator=g)
    codes = torch.randint(0, 8, (50, 3), generator=g).to(torch.uint8)
    before = nearest_distances(tables, codes, torch.tensor([50]))
    more = torch.cat([codes, torch.randint(0, 8, (1, 3), generator=g).to(torch.uint8)])
    assert (nearest_distances(tables, more, torch.tensor([51])) <= before).all()
    shuffled = codes[torch.randperm(50, generator=g)]
    assert torch.equal(nearest_distances(tables, shuffled, torch.tensor([50])), before)


@pytest.mark.parametrize("query_rows", [1, 3])
@pytest.mark.parametrize("codewords", [4, 300])
@pytest.mark.parametrize("seed", range(3))
def test_search_returns_the_slow_ranking_with_the_box_of_the_first_nearest_code(seed, codewords, query_rows):
    query, gallery, truth = problem(seed, codewords=codewords, query_rows=query_rows, coarse=codewords == 4)
    ranking = search(query, gallery, top=45, truth=truth)
    for i, expected in enumerate(slow_rankings(query, gallery, truth)):
        n = len(expected)
        assert ranking.image[i, :n].tolist() == [image for image, _, _ in expected]
        assert (-ranking.score[i, :n]).tolist() == [distance for _, distance, _ in expected]
        assert ranking.boxes[i, :n, 0].tolist() == [4 * row for _, _, row in expected]
        assert (ranking.image[i, n:] == -1).all()
    head = search(query, gallery, top=3, truth=truth)
    assert np.array_equal(head.image, ranking.image[:, :3])
    assert np.array_equal(head.boxes, ranking.boxes[:, :3])


@pytest.mark.parametrize("seed", range(3))
def test_ranks_and_tie_groups_equal_those_of_plain_loops(seed):
    query, gallery, truth = problem(seed, images=60)
    result = ranks.rank_relevant(query, gallery, truth)
    at = 0
    for i, ranking in enumerate(slow_rankings(query, gallery, truth)):
        distances = [distance for _, distance, _ in ranking]
        good = set(truth.positives[i].tolist())
        places = [rank for rank, (image, _, _) in enumerate(ranking) if image in good]
        assert result.ranks[i].tolist() == places
        assert result.positives[i] == len(places)
        assert result.ranked[i] == len(ranking)
        for rank in places:
            own = distances[rank]
            assert result.above[at] == sum(d < own for d in distances)
            assert result.tied[at] == distances.count(own)
            assert result.tied_relevant[at] == sum(distances[p] == own for p in places)
            at += 1
    assert at == len(result.above)


@pytest.mark.parametrize("coarse", [True, False])
def test_sorting_and_counting_give_the_same_ranks_for_any_block(coarse):
    query, gallery, truth = problem(7, queries=40, images=80, coarse=coarse, query_rows=2)
    expected = ranks.rank_by_levels(query, gallery, truth, 1024, None)
    for block in (1, 7, 1024):
        result = ranks.rank_relevant(query, gallery, truth, block=block)
        for name in ("positives", "above", "tied", "tied_relevant", "ranked"):
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name), err_msg=name)
        np.testing.assert_array_equal(result.ranks.values, expected.ranks.values)
        np.testing.assert_array_equal(result.ranks.offsets, expected.ranks.offsets)


def test_metrics_know_the_extremes_of_ties():
    # Images 1 to 4 lie at distances 1, 1, 2, 2; positives are 2 and 3.
    tables = Descriptors(torch.tensor([[0.0, 1, 1, 2]]), torch.tensor([0]), "adc")
    codes = torch.tensor([[0, 0], [1, 1], [1, 0], [0, 1]], dtype=torch.uint8)
    codes = codes[[0, 0, 3, 3]]
    gallery = Descriptors(codes, torch.tensor([1, 2, 3, 4]), "adc")
    truth = GroundTruth(np.array([0]), np.arange(1, 5), RaggedLists.from_lists([[2, 3]]), RaggedLists.from_lists([[]]))
    protocol = Protocol(dataset="made", name="up", ties="expected", metrics=KEYS)
    found = evaluate(tables, gallery, truth, protocol).metrics
    assert found["map_optimistic"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["map_pessimistic"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["map_index"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # One positive in each pair: places 1 or 2, and 3 or 4, each with probability one half.
    assert found["map"] == pytest.approx(((1 + 1 / 2) / 2 + (2 / 3 + 2 / 4) / 2) / 2)
    assert found["recall_at_1_index"] == 0


def test_recall_alone_takes_the_same_way():
    query, gallery, truth = problem(2, queries=30, images=50)
    keys = ("recall_at_1", "recall_at_5")
    alone, beside = (
        evaluate(query, gallery, truth, Protocol(dataset="made", name="up", ties="index", metrics=metrics))
        for metrics in (keys, (*keys, "map"))
    )
    for key in keys:
        np.testing.assert_array_equal(alone.per_query[key], beside.per_query[key])


def test_an_image_with_one_code_equal_to_the_query_s_ranks_first():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 30, generator=g)
    quantizer = ProductQuantizer(30, subspaces=8, codewords=16)
    quantizer.fit(x, rounds=3, last_passes=3)
    codes, image = quantizer.encode(x), torch.arange(400) // 10
    reconstruction = quantizer.decode(codes[250:251]) @ quantizer.rotation
    own = ProductQuantizer(32, subspaces=8, codewords=16)  # of the filled-up vectors: it can take the reconstruction
    own.load_state_dict(quantizer.state_dict())
    query = Descriptors(own.tables(reconstruction).flatten(1), torch.tensor([99]), "adc")
    ranking = search(query, Descriptors(codes, image, "adc", torch.rand(400, 4)), top=2)
    assert ranking.image[0, 0] == 25
    assert ranking.score[0, 0] == pytest.approx(0, abs=1e-10)
    assert ranking.score[0, 1] < -1e-4


def test_the_ranking_is_that_of_distances_from_reconstructions():
    g = torch.Generator().manual_seed(3)
    x = torch.randn(600, 30, generator=g)
    quantizer = ProductQuantizer(30, subspaces=4, codewords=32)
    quantizer.fit(x, rounds=2, last_passes=2)
    query = quantizer.as_queries(Descriptors(x[500:], torch.arange(500, 600), "euclidean"))
    gallery = quantizer.as_gallery(Descriptors(x[:500], torch.arange(500) // 20, "euclidean", torch.rand(500, 4)))
    ranking = search(query, gallery, top=25)
    rebuilt = (quantizer.decode(gallery.data) @ quantizer.rotation).double()
    exact = (quantizer.pad(x[500:])[:, None].double() - rebuilt).square().sum(2).view(100, 25, 20).amin(2)
    found = exact.gather(1, torch.from_numpy(ranking.image))
    assert torch.allclose(found, torch.from_numpy(-ranking.score), atol=1e-4)
    assert (found.diff(dim=1) > -1e-4).all()
    assert {tuple(box) for box in ranking.boxes[:, 0].tolist()} <= {tuple(box) for box in gallery.boxes.tolist()}


def test_the_order_of_extraction_changes_no_metric():
    query, gallery, truth = problem(5)
    protocol = Protocol(dataset="made", name="up", ties="expected", metrics=KEYS)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(0))
    again = Descriptors(gallery.data[order], gallery.image[order], "adc")
    assert evaluate(query, again, truth, protocol).metrics == evaluate(query, gallery, truth, protocol).metrics


def test_codes_in_gallery_order_are_not_copied():
    query, gallery, truth = problem(5)
    sorted_ = gallery.select(truth.gallery)
    comparison = ranks.Comparison.of(query, sorted_, truth.query, truth.gallery)
    assert comparison.gallery.data.data_ptr() == sorted_.data.data_ptr()


def test_descriptors_of_both_sides_are_saved_and_merged(tmp_path):
    query, gallery, _ = problem(1, codewords=300)
    for side in (query, gallery):
        side.save(tmp_path / "d.npz")
        back = Descriptors.load(tmp_path / "d.npz")
        assert back.metric == "adc"
        assert back.data.dtype == side.data.dtype
        assert torch.equal(back.data, side.data)
    merged = Descriptors.merge([gallery, gallery])
    assert torch.equal(merged.data, gallery.data[torch.argsort(gallery.image, stable=True)])


def test_sides_that_do_not_fit_are_refused():
    query, gallery, truth = problem()
    with pytest.raises(ValueError, match=r"codes are 0 to 2 here, got 0 to 3"):
        search(replace(query, data=query.data[:, :9].contiguous()), gallery, top=1)
    with pytest.raises(ValueError, match=r"got torch\.float32 of 11 and torch\.uint8 of 3"):
        search(replace(query, data=query.data[:, :11].contiguous()), gallery, top=1)
    with pytest.raises(ValueError, match="asymmetric distances need tables"):
        search(gallery, gallery, top=1)
    with pytest.raises(ValueError, match="cannot be compared"):
        search(replace(query, metric="euclidean"), gallery, top=1)
    broken = query.data.clone()
    broken[2, 0] = float("nan")
    with pytest.raises(DescriptorError, match="1 of 5 images have a descriptor that is not finite"):
        evaluate(
            replace(query, data=broken),
            gallery,
            truth,
            Protocol(dataset="made", name="up", ties="index", metrics=("map",)),
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("lengths", [[200] * 50, [200, 3, 3, 90, 1, 1, 1, 40]])
def test_a_cuda_device_gives_the_same_distances_and_codes(lengths):
    g = torch.Generator().manual_seed(0)
    tables = torch.rand(40, 8 * 512, generator=g)
    codes = torch.randint(0, 512, (sum(lengths), 8), generator=g).to(torch.int16)
    here = nearest_distances(tables, codes, torch.tensor(lengths))
    assert torch.equal(nearest_distances(tables.cuda(), codes.cuda(), torch.tensor(lengths)).cpu(), here)
