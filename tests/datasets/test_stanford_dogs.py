"""Stanford Dogs from its MATLAB lists and its XML annotations."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError
from retrieval_bench.datasets.miniature.files import save_mat
from retrieval_bench.datasets.miniature.stanford_dogs import list_variables
from retrieval_bench.datasets.stanford_dogs import StanfordDogs
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate

CHOW, BOXER = "n02112137-chow", "n02108089-boxer"
TRAIN = [(f"{BOXER}/n02108089_9.jpg", 3), (f"{CHOW}/n02112137_4.jpg", 7), (f"{BOXER}/n02108089_1.jpg", 3)]
TEST = [(f"{CHOW}/n02112137_5.jpg", 7), (f"{BOXER}/n02108089_2.jpg", 3)]


def cells(texts: Sequence[str]) -> np.ndarray:
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def write_list(file: Path, rows: Sequence[tuple[str, int]], **changes: object) -> None:
    """A list as published: two columns of cells, one of numbers, other variables left out."""
    files = [name for name, _ in rows]
    variables = {
        "file_list": cells(files),
        "annotation_list": cells([name.removesuffix(".jpg") for name in files]),
        "labels": np.array([[label] for _, label in rows], np.uint8),
    }
    scipy.io.savemat(file, {k: v for k, v in (variables | changes).items() if v is not ...})


def write_annotation(root: Path, name: str, *boxes: tuple[int, int, int, int]) -> None:
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        "<object><name>x</name><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    file = root / "Annotation" / name.removesuffix(".jpg")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<annotation><size><width>500</width></size>{objects}</annotation>")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_list(tmp_path / "train_list.mat", TRAIN)
    write_list(tmp_path / "test_list.mat", TEST)
    for i, (name, _) in enumerate([*TRAIN, *TEST]):
        write_annotation(tmp_path, name, (i, 10, 200 + i, 300))
    return tmp_path


def test_the_pictures_trained_on_are_searched_by_the_others(root):
    dataset = StanfordDogs(root)
    table = dataset.table
    assert table.path == tuple(f"Images/{name}" for name, _ in [*TRAIN, *TEST])
    assert table.class_names == (BOXER, CHOW)  # in the order of their numbers, 3 and 7
    assert table.label.tolist() == [0, 1, 0, 1, 0]
    assert table.is_train.tolist() == table.is_gallery.tolist() == [True, True, True, False, False]
    assert table.is_query.tolist() == [False, False, False, True, True]
    assert [x.tolist() for x in dataset.ground_truth.positives] == [[1], [0, 2]]
    assert dataset.ground_truth.gallery.tolist() == [0, 1, 2]
    assert dataset.image_path(3) == root / "Images" / CHOW / "n02112137_5.jpg"
    assert dataset.missing_annotations() == []


def test_the_protocol_is_that_of_hashing(root):
    protocol = StanfordDogs(root).protocol
    assert (protocol.name, protocol.self_match, protocol.ties) == ("hashing", "keep", "expected")
    assert protocol.main_metric == "map"
    assert protocol.edition.startswith("partial-")


def test_codes_that_all_tie_score_what_a_random_order_would(root):
    dataset = StanfordDogs(root)
    truth = dataset.ground_truth
    query, gallery = (
        Descriptors(torch.full((len(rows), 2), 5, dtype=torch.uint8), torch.from_numpy(rows), "hamming")
        for rows in (truth.query, truth.gallery)
    )
    values = evaluate(query, gallery, truth, dataset.protocol).metrics
    # Query 3 has the second of three pictures to find, query 4 the first and the third.
    expected = {
        "map": ((1 + 1 / 2 + 1 / 3) / 3 + (1 + 5 / 6 + 7 / 12) / 3) / 2,
        "precision_within_2": (1 / 3 + 2 / 3) / 2,
        "map_optimistic": 1.0,
        "map_pessimistic": (1 / 3 + 7 / 12) / 2,
        "map_index": (1 / 2 + 5 / 6) / 2,
    }
    assert list(values) == list(expected)
    assert values == pytest.approx(expected)


def test_a_box_is_around_all_dogs_of_a_picture(root):
    write_annotation(root, TRAIN[1][0], (50, 60, 120, 400), (90, 20, 333, 350))
    box = StanfordDogs(root).table.box
    assert box is not None
    assert box.dtype == np.float32
    assert box[0].tolist() == [0, 10, 200, 300]
    assert box[1].tolist() == [50, 20, 333, 400]


def test_without_the_folder_of_annotations_there_are_no_boxes(root):
    shutil.rmtree(root / "Annotation")
    assert StanfordDogs(root).table.box is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no .*n02108089_9, though"),
        ("<annotation>", "n02108089_9: expected XML"),
        ("<annotation></annotation>", "n02108089_9: expected the box of at least one object, found none"),
        ("<a><object><bndbox><xmin>1</xmin></bndbox></object></a>", "n02108089_9: expected XML with the boxes"),
    ],
)
def test_an_annotation_that_is_missing_or_broken_is_named(root, text, words):
    file = root / "Annotation" / BOXER / "n02108089_9"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(DataError, match=words):
        StanfordDogs(root).table  # noqa: B018


def test_one_row_alone_is_read(root):
    write_list(root / "test_list.mat", TEST[:1])
    assert StanfordDogs(root).table.is_query.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ...}, "expected the variables file_list, annotation_list, labels, found no labels"),
        ({"labels": np.array([[7]], np.uint8)}, "its variables have 2, 2, 1 rows"),
        ({"labels": cells(["chow", "boxer"])}, "expected names of files and whole numbers"),
        ({"file_list": cells(["../../a.jpg", "b.jpg"])}, "expected names of files"),
    ],
)
def test_a_list_that_is_not_as_published_is_named(root, changes, words):
    write_list(root / "test_list.mat", TEST, **changes)
    with pytest.raises(DataError, match=rf"test_list\.mat: {words}"):
        StanfordDogs(root).table  # noqa: B018


def test_a_picture_in_both_lists_is_named(root):
    write_list(root / "test_list.mat", [*TEST, TRAIN[0]])
    with pytest.raises(DataError, match=r"name n02108089-boxer/n02108089_9\.jpg twice"):
        StanfordDogs(root).table  # noqa: B018


@pytest.mark.parametrize("row", [(f"{CHOW}/x.jpg", 3), ("n1-pug/x.jpg", 3)])
def test_labels_that_do_not_fit_the_folders_are_reported(root, row):
    write_list(root / "test_list.mat", [*TEST, row])
    with pytest.raises(DataError, match="do not agree with the folders"):
        StanfordDogs(root).table  # noqa: B018


def test_a_missing_list_is_named(root):
    (root / "test_list.mat").unlink()
    assert StanfordDogs(root).missing_annotations() == ["test_list.mat"]
    with pytest.raises(DataError, match=r"there is no .*test_list\.mat"):
        StanfordDogs(root).table  # noqa: B018


def test_a_missing_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"no train_list\.mat.*data download stanford_dogs"):
        StanfordDogs(tmp_path)


@pytest.mark.data
def test_the_real_training_half_is_what_the_card_says(shared: Path, tmp_path: Path):
    lines = (shared / "annotations" / "stanford_dogs" / "train_names_labels.txt").read_text().splitlines()
    rows = [(name, int(label)) for name, label in (line.rsplit(",", 1) for line in lines)]
    assert all(re.fullmatch(r"(n\d{8})-[\w-]+/\1_\d+\.jpg", name) for name, _ in rows)
    save_mat(tmp_path / "train_list.mat", list_variables(rows))
    # Of the test half only names of pictures that are not in the training half are needed.
    stand_in = [(f"{name.rpartition('/')[0]}/test.jpg", label) for name, label in rows[::100]]
    save_mat(tmp_path / "test_list.mat", list_variables(stand_in))
    dataset = StanfordDogs(tmp_path)
    counts, published = dataset.table.counts(), dataset.card.counts["hashing"]
    assert counts["train"] == published["train"] == {"images": 12_000, "classes": 120}
    assert counts["gallery"] == published["gallery"]
    assert counts["query"]["classes"] == published["query"]["classes"] == 120
    assert np.bincount(dataset.table.label[dataset.table.is_train]).tolist() == [100] * 120
    assert dataset.table.class_names == tuple(sorted(dataset.table.class_names))
