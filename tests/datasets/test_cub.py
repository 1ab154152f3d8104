"""CUB-200-2011 from its text files."""

from pathlib import Path

import numpy as np
import pytest

from retrieval_bench.datasets.cub import Cub200
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError

# Image ids are neither in order nor without gaps, and the files list them in different orders.
FILES = {
    "images.txt": "7 001.Auk/a.jpg\n2 100.Owl/b.jpg\n9 101.Tern/c.jpg\n4 101.Tern/d.jpg\n5 200.Wren/e.jpg\n",
    "image_class_labels.txt": "2 100\n4 101\n5 200\n7 1\n9 101\n",
    "classes.txt": "1 001.Auk\n100 100.Owl\n101 101.Tern\n200 200.Wren\n",
    "train_test_split.txt": "2 0\n4 0\n5 1\n7 1\n9 1\n",
    "bounding_boxes.txt": "2 0.0 5.0 10.0 20.0\n4 1 2 3 4\n5 0 0 1 1\n7 60.0 27.0 325.0 304.0\n9 2 2 2 2\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "CUB_200_2011"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return tmp_path


def test_the_zero_shot_split_trains_on_classes_to_100_and_searches_the_rest(root):
    table = Cub200(root).table
    assert table.path == tuple(
        f"images/{x}" for x in ("001.Auk/a.jpg", "100.Owl/b.jpg", "101.Tern/c.jpg", "101.Tern/d.jpg", "200.Wren/e.jpg")
    )
    assert table.label.tolist() == [0, 1, 2, 2, 3]
    assert table.class_names == ("001.Auk", "100.Owl", "101.Tern", "200.Wren")
    assert table.is_train.tolist() == [True, True, False, False, False]
    assert table.is_query.tolist() == table.is_gallery.tolist() == [False, False, True, True, True]


def test_the_official_split_is_that_of_the_file(root):
    table = Cub200(root, "official").table
    assert table.is_train.tolist() == [True, False, True, False, True]
    assert table.is_query.tolist() == table.is_gallery.tolist() == [False, True, False, True, False]


def test_hashing_searches_the_pictures_trained_on_with_the_others(root):
    dataset = Cub200(root, "hashing")
    table = dataset.table
    assert table.is_train.tolist() == table.is_gallery.tolist() == [True, False, True, False, True]
    assert table.is_query.tolist() == [False, True, False, True, False]
    assert [x.tolist() for x in dataset.ground_truth.positives] == [[], [2]]
    assert [x.tolist() for x in dataset.ground_truth.junk] == [[], []]
    assert (dataset.protocol.self_match, dataset.protocol.ties) == ("keep", "expected")
    assert dataset.protocol.main_metric == "map"


def test_boxes_become_corners(root):
    box = Cub200(root).table.box
    assert box is not None
    assert box.dtype == np.float32
    assert box[0].tolist() == [60, 27, 385, 331]
    assert box[1].tolist() == [0, 5, 10, 25]


def test_without_the_box_file_there_are_no_boxes(root):
    (root / "CUB_200_2011" / "bounding_boxes.txt").unlink()
    assert Cub200(root).table.box is None


def test_a_query_never_finds_itself(root):
    truth = Cub200(root).ground_truth
    assert [x.tolist() for x in truth.positives] == [[3], [2], []]
    assert [x.tolist() for x in truth.junk] == [[2], [3], [4]]


@pytest.mark.parametrize("inside", [".", "CUB_200_2011"])
def test_the_folder_and_the_one_that_holds_it_are_both_accepted(root, inside):
    dataset = Cub200(root / inside)
    assert len(dataset.table) == 5
    assert dataset.image_path(1) == root / "CUB_200_2011" / "images" / "100.Owl" / "b.jpg"


def test_a_folder_of_all_data_sets_is_accepted(root, tmp_path):
    root.joinpath("cub").mkdir()
    (root / "CUB_200_2011").rename(root / "cub" / "CUB_200_2011")
    assert len(Cub200(tmp_path).table) == 5


def test_a_part_of_the_data_set_is_an_edition_of_its_own(root):
    whole, official = Cub200(root), Cub200(root, "official")
    assert whole.protocol.edition == f"partial-{whole.table.fingerprint}"
    assert whole.protocol.fingerprint != official.protocol.fingerprint
    assert whole.protocol.metrics == tuple(f"recall_at_{k}" for k in (1, 2, 4, 8, 16, 32))
    assert whole.protocol.main_metric == "recall_at_1"
    assert whole.protocol.self_match == "exclude"


def test_the_fingerprint_is_that_of_the_contents_not_of_the_place(root):
    first = Cub200(root).table.fingerprint
    moved = root / "elsewhere"
    (root / "CUB_200_2011").rename(moved)
    assert Cub200(moved).table.fingerprint == first
    labels = moved / "image_class_labels.txt"
    labels.write_text(labels.read_text().replace("5 200", "5 101"))
    assert Cub200(moved).table.fingerprint != first


def test_a_missing_folder_is_reported_with_the_two_ways_to_get_the_data(tmp_path):
    with pytest.raises(DatasetNotFoundError) as error:
        Cub200(tmp_path / "nothing")
    for word in (str(tmp_path / "nothing"), "images.txt", "CUB_200_2011", "data download cub", "RETRIEVAL_BENCH_DATA"):
        assert word in str(error.value)


def test_an_unknown_protocol_lists_the_known_ones(root):
    with pytest.raises(ValueError, match="'few-shot'; it has zero-shot, official, hashing"):
        Cub200(root, "few-shot")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("images.txt", "7 a.jpg\nx b.jpg\n", ["images.txt, line 2", "image id, path", "'x b.jpg'"]),
        ("images.txt", "7 a.jpg\n2\n", ["images.txt, line 2", "'2'"]),
        ("images.txt", "7 a.jpg\n\n2 b c.jpg\n", ["images.txt, line 3", "'2 b c.jpg'"]),
        ("images.txt", "7 ../../a.jpg\n", ["images.txt, line 1"]),
        ("images.txt", "7 a.jpg\n7 b.jpg\n", ["images.txt", "image id 7 comes twice"]),
        ("image_class_labels.txt", "2 100\n4 101\n5 200\n7 1\n", ["image_class_labels.txt", "image id 9"]),
        ("image_class_labels.txt", "2 100\n4 101\n5 200\n7 1\n9 55\n", ["classes.txt", "class id 55"]),
        ("train_test_split.txt", "2 0\n4 0\n5 1\n7 1\n9 2\n", ["train_test_split.txt, line 5", "0 or 1", "'9 2'"]),
        ("bounding_boxes.txt", "2 0.0 5.0 10.0\n", ["bounding_boxes.txt, line 1", "x, y, width, height"]),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(root, name, text, words):
    (root / "CUB_200_2011" / name).write_text(text)
    with pytest.raises(DataError) as error:
        Cub200(root, "official").table  # noqa: B018
    for word in words:
        assert word in str(error.value)


def test_a_binary_file_is_named(root):
    (root / "CUB_200_2011" / "classes.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"classes\.txt: not a text file"):
        Cub200(root).table  # noqa: B018


def test_a_missing_file_is_named(root):
    (root / "CUB_200_2011" / "train_test_split.txt").unlink()
    assert Cub200(root).missing_annotations() == ["train_test_split.txt"]
    assert len(Cub200(root, "zero-shot").table) == 5
    with pytest.raises(DataError, match=r"there is no .*train_test_split\.txt"):
        Cub200(root, "official").table  # noqa: B018
