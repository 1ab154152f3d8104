"""In-shop Clothes Retrieval from its partition list."""

from pathlib import Path

import pytest

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.inshop import InShop

PICTURES = ("img/WOMEN/Tees/id_2/01_1_front.jpg", "img/MEN/Tees/id_7/01_1_front.jpg", "img/MEN/Tees/id_7/01_2_side.jpg")
# Columns are padded with blanks, as in the original.
PARTITION = f"""3
image_name item_id evaluation_status
{PICTURES[0]}        id_2 train
{PICTURES[1]}         id_7 query
{PICTURES[2]}          id_7 gallery
"""
BOXES = f"""3
image_name clothes_type pose_type x_1 y_1 x_2 y_2
{PICTURES[2]}  1 2 10 11 120 130
{PICTURES[0]}  1 1 50 45 180 200
{PICTURES[1]}  3 1 001 002 250 251
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Eval/list_eval_partition.txt").write_text(PARTITION)
    return tmp_path


def test_the_partition_becomes_roles_and_items_become_classes(root):
    table = InShop(root).table
    assert table.path == PICTURES
    assert table.label.tolist() == [0, 1, 1]
    assert table.class_names == ("id_2", "id_7")
    assert table.is_train.tolist() == [True, False, False]
    assert table.is_query.tolist() == [False, True, False]
    assert table.is_gallery.tolist() == [False, False, True]
    assert table.box is None


def test_queries_search_the_gallery_and_nothing_is_taken_out(root):
    dataset = InShop(root)
    assert dataset.protocol.self_match == "keep"
    assert dataset.protocol.metrics == tuple(f"recall_at_{k}" for k in (1, 10, 20, 30, 40, 50))
    truth = dataset.ground_truth
    assert truth.query.tolist() == [1]
    assert truth.gallery.tolist() == [2]
    assert [x.tolist() for x in truth.positives] == [[2]]
    assert [x.tolist() for x in truth.junk] == [[]]


def test_boxes_are_matched_by_picture_not_by_order(root):
    (root / "Anno").mkdir()
    (root / "Anno/list_bbox_inshop.txt").write_text(BOXES)
    box = InShop(root).table.box
    assert box is not None
    assert box.tolist() == [[50, 45, 180, 200], [1, 2, 250, 251], [10, 11, 120, 130]]


def test_a_box_file_that_lacks_a_picture_is_named(root):
    (root / "Anno").mkdir()
    (root / "Anno/list_bbox_inshop.txt").write_text(BOXES.replace("id_2", "id_3"))
    with pytest.raises(DataError, match=r"list_bbox_inshop\.txt has no entry for picture 'img/WOMEN/Tees/id_2"):
        InShop(root).table  # noqa: B018


@pytest.mark.parametrize(("folder", "expected"), [("img", "."), ("Img/img", "Img")])
def test_pictures_are_found_beside_eval_and_in_the_folder_of_the_archive(root, folder, expected):
    (root / folder).mkdir(parents=True)
    dataset = InShop(root)
    assert dataset.image_path(1) == root / expected / PICTURES[1]
    assert dataset.table.path == PICTURES  # so the fingerprint does not depend on where they lie


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PARTITION.replace("id_7 query", "id_7 test"), ["line 4", "train, query or gallery", "id_7 test"]),
        (PARTITION.replace("image_name", "picture"), ["line 2", "image_name item_id evaluation_status"]),
        (PARTITION.replace("3\n", "three\n", 1), ["line 1", "number of rows", "'three'"]),
        (PARTITION.replace("3\n", "4\n", 1), ["announces 4 rows, it has 3"]),
        (PARTITION.replace("id_7 gallery", "gallery"), ["line 5", "item_id"]),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(root, text, words):
    (root / "Eval/list_eval_partition.txt").write_text(text)
    with pytest.raises(DataError) as error:
        InShop(root).table  # noqa: B018
    assert "list_eval_partition.txt" in str(error.value)
    for word in words:
        assert word in str(error.value)
