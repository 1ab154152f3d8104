"""Verify: a folder is compared with its card, and every difference is named with what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.datasets import base
from retrieval_bench.datasets import verify as verify_module
from retrieval_bench.datasets.cards import load_card
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.miniature import MARKER
from retrieval_bench.datasets.verify import Difference, verify

IMAGES = 24  # half of them of class 1, half of class 101
HALF = {"images": 12, "classes": 1}
COUNTS = {"zero-shot": {"train": HALF, "query": HALF, "gallery": HALF}} | {
    name: {role: {"images": 12, "classes": 2} for role in ("train", "query", "gallery")}
    for name in ("official", "hashing")
}


def picture(file: Path, size: tuple[int, int], seed: int = 0) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(file, quality=90)


def lines(file: Path, rows: list[str]) -> None:
    file.write_text("".join(f"{row}\n" for row in rows))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A CUB of 24 pictures of different sizes with boxes inside them."""
    ids = range(1, IMAGES + 1)
    lines(tmp_path / "images.txt", [f"{i} {i}.jpg" for i in ids])
    lines(tmp_path / "image_class_labels.txt", [f"{i} {1 if i <= 12 else 101}" for i in ids])
    lines(tmp_path / "classes.txt", ["1 Auk", "101 Tern"])
    lines(tmp_path / "train_test_split.txt", [f"{i} {i % 2}" for i in ids])
    lines(tmp_path / "bounding_boxes.txt", [f"{i} 2 3 10 11" for i in ids])
    for i in ids:
        picture(tmp_path / "images" / f"{i}.jpg", (30 + i, 40), i)
    return tmp_path


@pytest.fixture
def whole(monkeypatch):
    """A card whose counts are those of the folder above."""
    card = replace(load_card("cub"), counts=COUNTS)
    for module in (base, verify_module):
        monkeypatch.setattr(module, "load_card", lambda name: card)
    return card


def only(differences: list[Difference]) -> Difference:
    assert len(differences) == 1
    return differences[0]


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_that_is_what_its_card_says_has_no_differences(root, whole, quick):
    assert verify("cub", root, quick=quick) == []


def test_wrong_counts_are_named_for_each_protocol(root):
    differences = verify("cub", root, images=False)
    assert [d.kind for d in differences] == ["counts", "counts", "counts"]
    assert "zero-shot: train 12 images of 1 classes instead of 5,864 images of 100 classes" in differences[0].what
    assert differences[0].actual == COUNTS["zero-shot"]
    assert differences[0].expected == load_card("cub").counts["zero-shot"]
    assert "partial-" in differences[0].todo
    assert "official: train 12 images of 2 classes instead of 5,994 images of 200 classes" in differences[1].what


def test_a_miniature_is_said_to_be_one_and_never_to_be_unpacked_again(root):
    (root / MARKER).write_text("data set: cub\n")
    (root / "images" / "1.jpg").unlink()
    (root / "images" / "2.jpg").write_bytes(b"")
    differences = verify("cub", root)
    assert [d.kind for d in differences] == ["counts", "counts", "counts", "missing", "unreadable"]
    assert all(d.todo.startswith("This is a miniature") for d in differences)
    assert "miniature-" in differences[0].todo
    assert not any("npack" in d.todo for d in differences)


def test_missing_pictures_are_counted_and_named(root, whole):
    for i in (3, 20):
        (root / "images" / f"{i}.jpg").unlink()
    difference = only(verify("cub", root))
    assert difference.kind == "missing"
    assert difference.what.startswith("2 of 24 pictures are missing")
    assert difference.files == ("images/3.jpg", "images/20.jpg")
    assert difference.actual == 22
    assert "Unpack" in difference.todo


def test_pictures_cut_short_or_not_pictures_are_named_with_the_reason(root, whole):
    cut = root / "images" / "5.jpg"
    cut.write_bytes(cut.read_bytes()[:-400])
    (root / "images" / "6.jpg").write_text("<html>404</html>")
    difference = only(verify("cub", root))
    assert difference.kind == "unreadable"
    assert difference.what.startswith("2 of 24 pictures")
    assert [file.split(":")[0] for file in difference.files] == ["images/5.jpg", "images/6.jpg"]
    assert "cut short" in difference.files[0]
    assert "no picture" in difference.files[1]


def test_a_quick_look_sees_absent_and_empty_files_but_decodes_nothing(root, whole):
    (root / "images" / "1.jpg").unlink()
    (root / "images" / "2.jpg").write_bytes(b"")
    cut = root / "images" / "5.jpg"
    cut.write_bytes(cut.read_bytes()[:-400])
    missing, unreadable = verify("cub", root, quick=True)
    assert missing.files == ("images/1.jpg",)
    assert unreadable.files == ("images/2.jpg: the file is empty",)


def test_without_images_no_picture_is_looked_at(root, whole):
    for file in (root / "images").iterdir():
        file.unlink()
    assert verify("cub", root, images=False) == []


@pytest.mark.parametrize("quick", [False, True])
def test_pictures_of_one_size_are_a_resized_copy(root, whole, quick):
    for i in range(1, IMAGES + 1):
        picture(root / "images" / f"{i}.jpg", (227, 227), i)
    difference = only(verify("cub", root, quick=quick))
    assert difference.kind == "edition"
    assert "all 24 pictures looked at are 227x227 pixels" in difference.what
    assert "squeezed" in difference.todo


def test_pictures_of_another_size_than_the_published_one_are_another_edition(root, whole, monkeypatch):
    card = replace(whole, image_size=(31, 40))
    monkeypatch.setattr(base, "load_card", lambda name: card)
    difference = only(verify("cub", root))
    assert difference.what == "23 of 24 pictures looked at are not 31x40 pixels like the originals"


def test_boxes_around_whole_pictures_are_a_cropped_copy(root, whole):
    lines(root / "bounding_boxes.txt", [f"{i} 0 0 {30 + i} 40" for i in range(1, IMAGES + 1)])
    difference = only(verify("cub", root))
    assert difference.kind == "edition"
    assert "cropped copy" in difference.what


def test_a_missing_annotation_file_is_named_once_and_the_rest_still_checked(root, whole):
    (root / "train_test_split.txt").unlink()
    (root / "images" / "1.jpg").unlink()
    annotations, missing = verify("cub", root)
    assert annotations.kind == "annotations"
    assert annotations.files == ("train_test_split.txt",)
    assert missing.files == ("images/1.jpg",)


def test_a_malformed_annotation_file_is_named_with_its_line(root, whole):
    lines(root / "train_test_split.txt", ["1 1", "2 yes"])
    difference = only(verify("cub", root))
    assert difference.kind == "annotations"
    assert "train_test_split.txt, line 2" in difference.what
    assert "protocol official and hashing cannot be read" in difference.what


def test_an_empty_folder_differs_and_says_how_to_get_the_data(tmp_path):
    difference = only(verify("cub", tmp_path))
    assert difference.kind == "annotations"
    assert "images.txt" in difference.what
    assert "data download cub" in difference.todo
    assert "data download cub" not in difference.what


def test_an_unknown_data_set_is_an_error(tmp_path):
    with pytest.raises(DataError, match="did you mean 'cub'"):
        verify("cup", tmp_path)


def test_progress_reaches_the_number_of_pictures(root, whole, monkeypatch):
    monkeypatch.setattr(verify_module, "BATCH", 10)
    seen: list[tuple[int, int]] = []
    verify("cub", root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 24), (20, 24), (24, 24)]


@pytest.mark.data
def test_real_pictures_squeezed_to_a_square_are_recognised(shared):
    kinds = [d.kind for d in verify("cub", shared / "sets" / "cub_100", quick=True)]
    assert kinds == ["counts", "counts", "counts", "edition"]


@pytest.mark.data
def test_real_original_pictures_differ_in_number_alone(shared):
    kinds = [d.kind for d in verify("cub", shared / "sets" / "cub_originals")]
    assert kinds == ["counts", "counts", "counts"]


@pytest.mark.data
def test_real_pictures_cropped_to_their_boxes_are_recognised(shared):
    differences = verify("cars196", shared / "sets" / "cars_50", quick=True)
    assert [d.kind for d in differences] == ["annotations", "counts", "edition"]
    assert "cropped copy" in differences[2].what
