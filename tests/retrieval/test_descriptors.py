from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval.descriptors import Descriptors


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


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    numbered([1]).save(tmp_path / "d.npz")

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        numbered([2, 3]).save(tmp_path / "d.npz")
    assert Descriptors.load(tmp_path / "d.npz").image.tolist() == [1]


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
