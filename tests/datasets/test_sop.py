"""Stanford Online Products from its two lists."""

from pathlib import Path

import pytest

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.sop import StanfordOnlineProducts

HEADER = "image_id class_id super_class_id path\n"
TRAIN = HEADER + "1 1 1 bicycle_final/11_0.JPG\n2 1 1 bicycle_final/11_1.JPG\n3 7 2 sofa_final/22_0.JPG\n"
TEST = HEADER + "59552 11319 1 bicycle_final/33_0.JPG\n59553 11320 12 toaster_final/44_0.JPG\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Stanford_Online_Products"
    folder.mkdir()
    (folder / "Ebay_train.txt").write_text(TRAIN)
    (folder / "Ebay_test.txt").write_text(TEST)
    return tmp_path


def test_the_lists_become_train_and_search_halves(root):
    dataset = StanfordOnlineProducts(root)
    table = dataset.table
    assert table.path[0] == "bicycle_final/11_0.JPG"
    assert table.label.tolist() == [0, 0, 1, 2, 3]
    assert table.class_names == ("1", "7", "11319", "11320")
    assert table.is_train.tolist() == [True, True, True, False, False]
    assert table.is_query.tolist() == table.is_gallery.tolist() == [False, False, False, True, True]
    assert table.counts() == {
        "train": {"images": 3, "classes": 2},
        "query": {"images": 2, "classes": 2},
        "gallery": {"images": 2, "classes": 2},
    }
    assert dataset.image_path(4) == root / "Stanford_Online_Products" / "toaster_final" / "44_0.JPG"


def test_recalls_are_those_of_the_paper(root):
    protocol = StanfordOnlineProducts(root).protocol
    assert protocol.metrics == ("recall_at_1", "recall_at_10", "recall_at_100", "recall_at_1000")
    assert protocol.main_metric == "recall_at_1"
    assert protocol.self_match == "exclude"


def test_lists_of_the_published_length_are_the_original_edition(tmp_path):
    def rows(first: int, images: int, classes: int) -> str:
        lines = (
            f"{i + 1} {first + i % classes} {i % 12 + 1} chair_final/{first + i % classes}_{i}.JPG"
            for i in range(images)
        )
        return HEADER + "\n".join(lines) + "\n"

    (tmp_path / "Ebay_train.txt").write_text(rows(1, 59551, 11318))
    (tmp_path / "Ebay_test.txt").write_text(rows(11319, 60502, 11316))
    dataset = StanfordOnlineProducts(tmp_path)
    assert dataset.protocol.edition == "original"
    assert len(dataset.table.class_names) == 22634


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEST.removeprefix(HEADER), ["Ebay_test.txt, line 1", "image_id class_id super_class_id path", "59552"]),
        (TEST + "59554 x 1 a.JPG\n", ["Ebay_test.txt, line 4", "image_id, class_id, super_class_id, path", "59554 x"]),
        (TEST + "59554 11321 1\n", ["Ebay_test.txt, line 4", "'59554 11321 1'"]),
        ("", ["Ebay_test.txt, line 1", "found ''"]),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(root, text, words):
    (root / "Stanford_Online_Products" / "Ebay_test.txt").write_text(text)
    with pytest.raises(DataError) as error:
        StanfordOnlineProducts(root).table  # noqa: B018
    for word in words:
        assert word in str(error.value)


def test_a_missing_list_is_named(root):
    (root / "Stanford_Online_Products" / "Ebay_test.txt").unlink()
    dataset = StanfordOnlineProducts(root)
    assert dataset.missing_annotations() == ["Ebay_test.txt"]
    with pytest.raises(DataError, match=r"there is no .*Ebay_test\.txt"):
        dataset.table  # noqa: B018
