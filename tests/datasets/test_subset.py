"""A subset has exactly the classes and images asked for, in the data set's own format."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.images import check_image
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.datasets.subset import cut_subset

NAMES = ("cub", "cars196", "sop", "inshop", "stanford_dogs")
CLOSED_SET = ("stanford_dogs",)  # the classes searched are those trained on


@pytest.fixture(scope="module")
def whole(drawn: Callable[[str], Path]) -> dict[str, RetrievalDataset]:
    return {name: dataset_class(name)(drawn(name)) for name in NAMES}


def texts(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix.lower() != ".jpg"
    }


@pytest.mark.parametrize("size", [(2, 2), (6, 3), (7, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_it_reads_back_to_exactly_the_numbers_asked_for(
    whole: dict[str, RetrievalDataset], tmp_path: Path, name: str, size: tuple[int, int]
):
    classes, images = size
    source = whole[name]
    subset = dataset_class(name)(cut_subset(source, tmp_path / "cut", classes=classes, images_per_class=images))
    table = subset.table
    assert np.unique(table.label, return_counts=True)[1].tolist() == [images] * classes
    trained, searched = (classes, classes) if name in CLOSED_SET else (classes - classes // 2, classes // 2)
    assert len(np.unique(table.label[table.is_train])) == trained
    assert len(np.unique(table.label[table.is_query])) == len(np.unique(table.label[table.is_gallery])) == searched
    assert min(len(x) for x in subset.ground_truth.positives) >= 1
    # Every row is a row of the whole, under the same class name, role and box, with the same picture.
    rows = {path: i for i, path in enumerate(source.table.path)}
    for i, path in enumerate(table.path):
        j = rows[path]
        assert table.class_names[table.label[i]] == source.table.class_names[source.table.label[j]]
        for role in ("is_train", "is_query", "is_gallery"):
            assert getattr(table, role)[i] == getattr(source.table, role)[j]
        if table.box is not None and source.table.box is not None:
            assert table.box[i].tolist() == source.table.box[j].tolist()
        assert subset.image_path(i).read_bytes() == source.image_path(j).read_bytes()
    pictures = [p for p in (tmp_path / "cut").rglob("*") if p.suffix.lower() == ".jpg"]
    assert len(pictures) == len(table)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_cuts_the_same_and_another_seed_others(
    whole: dict[str, RetrievalDataset], tmp_path: Path, name: str
):
    a, b, c = (
        texts(cut_subset(whole[name], tmp_path / x, classes=4, images_per_class=3, seed=seed))
        for x, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert a == b
    assert a != c


@pytest.mark.parametrize("name", NAMES)
def test_a_subset_is_never_taken_for_the_whole(whole: dict[str, RetrievalDataset], tmp_path: Path, name: str):
    target = cut_subset(whole[name], tmp_path / "cut", classes=4, images_per_class=3)
    assert dataset_class(name)(target).protocol.edition.startswith("partial-")
    assert whole[name].card.terms in (target / "SUBSET.txt").read_text()


def test_the_official_protocol_of_a_cub_subset_reads_too(whole: dict[str, RetrievalDataset], tmp_path: Path):
    official = dataset_class("cub")(whole["cub"].root, "official")
    target = cut_subset(official, tmp_path / "cut", classes=6, images_per_class=6)
    assert len(dataset_class("cub")(target).table) == len(dataset_class("cub")(target, "official").table) == 36
    assert dataset_class("cub")(target).table.counts()["train"] == {"images": 18, "classes": 3}


@pytest.mark.parametrize("name", NAMES)
def test_too_much_asked_for_is_answered_with_what_there_is(
    whole: dict[str, RetrievalDataset], tmp_path: Path, name: str
):
    there = whole[name].table.counts()["train"]["classes"]
    side, wanted = (", ", 2 * there + 2) if name in CLOSED_SET else (" on the train side, ", there + 1)
    with pytest.raises(DataError, match=rf"{there} classes with 2 images or more{side}{wanted} are"):
        cut_subset(whole[name], tmp_path / "cut", classes=2 * there + 2, images_per_class=2)
    most = max(np.bincount(whole[name].table.label))
    with pytest.raises(DataError, match=rf"has 0 classes with {most + 1} .*; with {most} images a class there would"):
        cut_subset(whole[name], tmp_path / "cut", classes=4, images_per_class=int(most) + 1)
    for classes, images in ((1, 5), (4, 1)):
        with pytest.raises(DataError, match="at least 2 classes"):
            cut_subset(whole[name], tmp_path / "cut", classes=classes, images_per_class=images)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_picture_is_named_and_nothing_stays_behind(tmp_path: Path):
    source = dataset_class("sop")(synthesize("sop", tmp_path / "sop"))
    for row in range(len(source.table)):
        source.image_path(row).unlink()
    with pytest.raises(DataError, match=r"there is no .*\.JPG; a subset needs the pictures"):
        cut_subset(source, tmp_path / "cut", classes=4, images_per_class=2)
    assert [p.name for p in tmp_path.iterdir()] == ["sop"]


def test_a_folder_with_other_things_is_refused(whole: dict[str, RetrievalDataset], tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not empty"):
        cut_subset(whole["cub"], tmp_path, classes=4, images_per_class=2)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_pictures_are_copied_where_links_are_impossible(
    whole: dict[str, RetrievalDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    subset = dataset_class("cub")(cut_subset(whole["cub"], tmp_path / "cut", classes=2, images_per_class=2))
    for row in range(4):
        assert check_image(subset.image_path(row)) is None
        assert subset.image_path(row).stat().st_nlink == 1


def test_a_cars196_subset_without_test_pictures_reads(whole: dict[str, RetrievalDataset], tmp_path: Path):
    source = whole["cars196"]
    for seed in range(40):
        target = cut_subset(source, tmp_path / str(seed), classes=2, images_per_class=2, seed=seed)
        subset = dataset_class("cars196")(target)
        assert len(subset.table) == 4
        if not any(path.startswith("cars_test/") for path in subset.table.path):
            return
    pytest.fail("no seed drew pictures of one half only")


def test_the_pooled_layout_of_cars196_is_cut_too(whole: dict[str, RetrievalDataset], tmp_path: Path):
    table = whole["cars196"].table
    assert table.box is not None
    corners = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    fields = ("relative_im_path", *corners, "class", "test")
    rows = np.empty((1, len(table)), dtype=[(f, object) for f in fields])
    (tmp_path / "pooled" / "car_ims").mkdir(parents=True)
    for i in range(len(table)):
        name = f"car_ims/{i + 1:06d}.jpg"
        rows[0, i] = (name, *table.box[i].astype(int), int(table.label[i]) + 1, i % 2)
        os.link(whole["cars196"].image_path(i), tmp_path / "pooled" / name)
    names = np.array([list(table.class_names)], dtype=object)
    scipy.io.savemat(tmp_path / "pooled" / "cars_annos.mat", {"annotations": rows, "class_names": names})
    source = dataset_class("cars196")(tmp_path / "pooled")
    subset = dataset_class("cars196")(cut_subset(source, tmp_path / "cut", classes=4, images_per_class=3))
    assert np.unique(subset.table.label, return_counts=True)[1].tolist() == [3] * 4
    assert subset.table.class_names == table.class_names
    assert all(subset.image_path(i).is_file() for i in range(12))


def test_a_subset_of_shared_classes_keeps_about_their_ratio_of_queries(
    whole: dict[str, RetrievalDataset], tmp_path: Path
):
    subset = dataset_class("stanford_dogs")(
        cut_subset(whole["stanford_dogs"], tmp_path / "cut", classes=3, images_per_class=7)
    )
    table = subset.table
    # Of 12 pictures of a class 5 are queries; of 7 these are 2.9.
    assert np.bincount(table.label[table.is_query]).tolist() == [3, 3, 3]
    assert np.bincount(table.label[table.is_gallery]).tolist() == [4, 4, 4]
    assert (table.is_train == table.is_gallery).all()


@pytest.mark.data
def test_real_pictures_are_cut(shared: Path, tmp_path: Path):
    for name, folder in (("cub", "cub_100"), ("cars196", "cars_50")):
        source = dataset_class(name)(shared / "sets" / folder)
        subset = dataset_class(name)(cut_subset(source, tmp_path / name, classes=10, images_per_class=8))
        assert subset.table.counts()["train"] == {"images": 40, "classes": 5}
        assert all(check_image(subset.image_path(row)) is None for row in range(80))
