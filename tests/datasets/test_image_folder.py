"""Labelled folders: ILSVRC2012's layout, the held-out part, and what is out of place."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from retrieval_bench.datasets import dataset_class, image_folder
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError
from retrieval_bench.datasets.image_folder import ImageNet
from retrieval_bench.datasets.miniature import synthesize


def write(root: Path, part: str, *files: str) -> Path:
    for file in files:
        path = root / part / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "train", *(f"n0{c}/n0{c}_{i}.JPEG" for c in (2, 1) for i in range(10)), "n01/notes.txt")
    return write(tmp_path, "val", *(f"n0{c}/val_{i}.jpg" for c in (1, 2) for i in range(6)))


def test_pictures_of_val_are_held_out_and_those_of_train_are_learned_from(folder):
    table = ImageNet(folder).table
    assert table.class_names == ("n01", "n02")
    assert table.counts() == {
        "train": {"images": 20, "classes": 2},
        "query": {"images": 12, "classes": 2},
        "gallery": {"images": 12, "classes": 2},
    }
    assert table.path[:2] == ("train/n01/n01_0.JPEG", "train/n01/n01_1.JPEG")
    assert all(
        path.split("/")[1] == table.class_names[label] for path, label in zip(table.path, table.label, strict=True)
    )
    assert all(path.startswith("train/") == bool(t) for path, t in zip(table.path, table.is_train, strict=True))
    assert ImageNet(folder).missing_annotations() == []


def test_classes_and_pictures_come_in_torchvisions_order(folder):
    reference = ImageFolder(str(folder / "train"))
    table = ImageNet(folder).table
    assert table.class_names == tuple(reference.classes)
    train = [(f"{folder}/{path}", int(label)) for path, label in zip(table.path, table.label, strict=True)]
    assert train[: len(reference)] == [(path.replace("\\", "/"), label) for path, label in reference.samples]


def test_the_held_out_part_is_drawn_once_and_no_larger_than_wanted(folder, monkeypatch):
    monkeypatch.setattr(image_folder, "MOST_HELD_OUT", 5)
    one, again = ImageNet(folder).table, ImageNet(folder).table
    assert one.fingerprint == again.fingerprint
    assert one.is_query.sum() == 5
    assert not (one.is_query & one.is_train).any()
    assert one.is_train.sum() == 20  # what of val is not drawn is not learned from either
    assert np.array_equal(one.is_query, one.is_gallery)


def test_ilsvrc_holds_out_ten_thousand_pictures_of_all_classes():
    rows = image_folder._drawn(1_281_167, 50_000)
    assert len(set(rows.tolist())) == 10_000
    assert rows.min() >= 1_281_167
    assert len(np.unique((rows - 1_281_167) // 50)) == 1000  # 50 pictures of each class, class by class


def test_without_val_a_tenth_of_train_is_held_out(tmp_path):
    table = ImageNet(write(tmp_path, "train", *(f"{c}/{i}.png" for c in "ab" for i in range(11)))).table
    assert table.is_query.sum() == 3  # of 22, rounded up
    assert np.array_equal(table.is_train, ~table.is_query)


def test_what_is_out_of_place_is_named(folder, tmp_path):
    write(folder, "val", "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match=r"val_00000001.JPEG is in no class: .*val/<class>/"):
        ImageNet(folder).table  # noqa: B018 - reading it is the test
    (folder / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()
    write(folder, "val", "n03/x.jpg")
    with pytest.raises(DataError, match=r"val/n03 is of a class that train has not; 1 such"):
        ImageNet(folder).table  # noqa: B018
    with pytest.raises(DatasetNotFoundError, match=r"ImageNet .* is not in .*there is no train/\*/\*.JPEG or"):
        ImageNet(tmp_path / "train")


def test_a_val_without_pictures_is_named(folder):
    for picture in (folder / "val").rglob("*.jpg"):
        picture.unlink()
    with pytest.raises(DataError, match="val holds no folder of pictures"):
        ImageNet(folder).table  # noqa: B018


def test_the_miniature_is_read_and_holds_out_other_pictures(drawn, tmp_path):
    dataset = dataset_class("imagenet")(drawn("imagenet"))
    assert dataset.table.counts() == {
        "train": {"images": 200, "classes": 20},
        "query": {"images": 80, "classes": 20},
        "gallery": {"images": 80, "classes": 20},
    }
    assert dataset.protocol.edition.startswith("miniature-")
    assert len({dataset.image_path(row).read_bytes() for row in range(280)}) == 280
    assert all(name[0] == "n" and len(name) == 9 for name in dataset.table.class_names)
    again = synthesize("imagenet", tmp_path / "again")
    for row in range(0, 280, 13):
        assert (again / dataset.table.path[row]).read_bytes() == dataset.image_path(row).read_bytes()
