from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval.descriptors import Descriptors, load_sides, save_sides


def numbered(image, metric="dot", boxes=False):
    """Descriptors whose values are their row numbers."""
    n = len(image)
    kind = torch.uint8 if metric == "hamming" else torch.float32
    data = torch.arange(2 * n).reshape(n, 2).to(kind)
    return Descriptors(
        data, torch.tensor(image, dtype=torch.int64), metric, torch.arange(4.0 * n).reshape(n, 4) if boxes else None
    )


@pytest.mark.parametrize("metric", ["dot", "euclidean", "hamming"])
@pytest.mark.parametrize("boxes", [False, True])
def test_what_is_saved_is_loaded(tmp_path, metric, boxes):
    d = numbered([3, 1, 1], metric, boxes)
    d.save(tmp_path / "d.npz")
    again = Descriptors.load(tmp_path / "d.npz")
    assert torch.equal(again.data, d.data)
    assert again.data.dtype == d.data.dtype
    assert torch.equal(again.image, d.image)
    assert again.metric == metric
    assert again.boxes is None if d.boxes is None else torch.equal(again.boxes, d.boxes)
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


def sides():
    """Tables of distances from 2 * 3 codewords, and codes of regions."""
    query = Descriptors(torch.arange(12.0).reshape(2, 6), torch.tensor([5, 7]), "adc")
    codes = torch.tensor([[0, 1], [2, 2], [1, 0]], dtype=torch.uint8)
    return query, Descriptors(codes, torch.tensor([1, 1, 5]), "adc", torch.arange(12.0).reshape(3, 4))


def test_both_sides_that_are_saved_are_loaded_and_one_that_is_both_is_a_plain_file(tmp_path):
    save_sides(*sides(), tmp_path / "new" / "d.npz")
    for again, side in zip(load_sides(tmp_path / "new" / "d.npz"), sides(), strict=True):
        assert torch.equal(again.data, side.data)
        assert torch.equal(again.image, side.image)
        assert (again.metric, again.boxes is None) == (side.metric, side.boxes is None)
    assert torch.equal(again.boxes, side.boxes)
    one = numbered([3, 1, 1])
    save_sides(one, one, tmp_path / "new" / "d.npz")
    query, gallery = load_sides(tmp_path / "new" / "d.npz")
    assert query is gallery
    assert torch.equal(gallery.data, Descriptors.load(tmp_path / "new" / "d.npz").data)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["d.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_data": None}, "it has no array query_data"),
        (
            {"gallery_data": None, "gallery_image": None, "gallery_metric": None},
            "it has no array gallery_data, gallery_",
        ),
        ({"gallery_metric": np.array("cosine")}, "metric must be dot, euclidean, hamming, adc, got 'cosine'"),
        (
            {"gallery_metric": np.array("hamming")},
            r"queries \(adc, 6 columns\) and gallery \(hamming, 2 columns\) cannot",
        ),
        ({"query_data": np.zeros((2, 5), np.float32)}, r"got torch.float32 of 5 and torch.uint8 of 2"),
        ({"query_data": np.zeros((2, 4), np.float32)}, "codes are 0 to 1 here, got 0 to 2"),
        ({"gallery_data": np.zeros((3, 0), np.uint8)}, "descriptors have no columns"),
        ({"query_image": np.zeros(3, np.int64)}, r"image must be int64 of shape \(2,\)"),
    ],
)
def test_sides_that_lack_something_or_do_not_fit_are_refused(tmp_path, change, message):
    save_sides(*sides(), tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz") as file:
        arrays = {**file, **change}
    np.savez(tmp_path / "d.npz", **{name: x for name, x in arrays.items() if x is not None})
    with pytest.raises(ValueError, match=message):
        load_sides(tmp_path / "d.npz")


def test_a_file_of_both_sides_is_not_taken_for_one(tmp_path):
    save_sides(*sides(), tmp_path / "d.npz")
    with pytest.raises(ValueError, match="it has no array data, image, metric"):
        Descriptors.load(tmp_path / "d.npz")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    numbered([1]).save(tmp_path / "d.npz")

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        numbered([2, 3]).save(tmp_path / "d.npz")
    assert Descriptors.load(tmp_path / "d.npz").image.tolist() == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


def test_select_takes_all_rows_of_images_in_the_order_asked():
    d = numbered([5, 2, 5, 9], boxes=True)
    chosen = d.select([9, 5])
    assert chosen.image.tolist() == [9, 5, 5]
    assert chosen.data[:, 0].tolist() == [6, 0, 4]
    assert chosen.boxes is not None
    assert chosen.boxes[:, 0].tolist() == [12, 0, 8]
    assert len(d.select([])) == 0
    with pytest.raises(KeyError, match="1 images have no descriptor, the first is image 4"):
        d.select([9, 4])


def test_merge_orders_by_image_and_drops_what_another_shard_has():
    first, second = numbered([4, 0, 4]), numbered([1, 4, 1])
    merged = Descriptors.merge([first, second])
    assert merged.image.tolist() == [0, 1, 1, 4, 4]
    assert merged.data[:, 0].tolist() == [2, 0, 4, 0, 4]


def test_a_merge_lets_go_of_the_shards_and_keeps_all_that_they_say():
    shards = [numbered([4, 0], boxes=True), numbered([1], boxes=True)]
    shards = [replace(s, predicted=10 * s.image) for s in shards]
    merged = Descriptors.merge(shards)
    assert shards == []
    assert merged.predicted is not None
    assert merged.predicted.tolist() == [0, 10, 40]
    assert merged.boxes is not None
    assert merged.boxes[:, 0].tolist() == [4, 0, 0]


@settings(deadline=None, max_examples=40)
@given(image=st.lists(st.integers(0, 8), min_size=1, max_size=12), shards=st.integers(1, 4), order=st.randoms())
def test_merge_of_whole_images_does_not_depend_on_the_split(image, shards, order):
    whole = numbered(sorted(image))
    places = {i: order.randrange(shards) for i in set(image)}
    parts = [whole.select([i for i in sorted(places) if places[i] == s]) for s in range(shards)]
    order.shuffle(parts)
    merged = Descriptors.merge(parts)
    assert torch.equal(merged.data, whole.data)
    assert torch.equal(merged.image, whole.image)


def test_shards_of_different_kinds_are_refused():
    with pytest.raises(ValueError, match="different kinds"):
        Descriptors.merge([numbered([1]), numbered([2], "euclidean")])
    with pytest.raises(ValueError, match="different kinds"):
        Descriptors.merge([numbered([1]), numbered([2], boxes=True)])
    with pytest.raises(ValueError, match="no shard"):
        Descriptors.merge([])


@pytest.mark.parametrize(
    ("data", "image", "metric", "boxes"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), torch.arange(2), "dot", None),
        (torch.zeros(2, 3), torch.arange(2), "hamming", None),
        (torch.zeros(6), torch.arange(6), "dot", None),
        (torch.zeros(2, 3), torch.arange(3), "dot", None),
        (torch.zeros(2, 3), torch.zeros(2), "dot", None),
        (torch.zeros(2, 3), torch.arange(2), "dot", torch.zeros(2, 2)),
        (torch.zeros(2, 3), torch.arange(2), "cosine", None),
    ],
)
def test_wrong_types_and_shapes_are_refused(data, image, metric, boxes):
    with pytest.raises(ValueError, match="must"):
        Descriptors(data, image, metric, boxes)


def test_merging_equals_taking_shard_after_shard():
    generator = torch.Generator().manual_seed(0)
    shards = [
        Descriptors(torch.rand(n, 2, generator=generator), torch.randint(0, 9, (n,), generator=generator))
        for n in (5, 0, 7, 1, 6)
    ]
    kept: dict[int, list[list[float]]] = {}
    for shard in shards:
        fresh: dict[int, list[list[float]]] = {}
        for image, row in zip(shard.image.tolist(), shard.data.tolist(), strict=True):
            fresh.setdefault(image, []).append(row)
        kept = {**fresh, **kept}
    merged = Descriptors.merge(shards)
    assert merged.image.tolist() == [image for image in sorted(kept) for _ in kept[image]]
    assert merged.data.tolist() == [row for image in sorted(kept) for row in kept[image]]
