"""Cars196 from its MATLAB files, in both layouts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from retrieval_bench.datasets.cars196 import Cars196
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError

NAMES = tuple(f"Car {i}" for i in range(1, 197))
CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def write_mat(file: Path, fields: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    """A struct array of one row, every number a 1 x 1 matrix: as the original files are."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for i, row in enumerate(rows):
        for name, value in zip(fields, row, strict=True):
            array[0, i][name] = value if isinstance(value, str) else np.array([[value]], np.uint16)
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {"annotations": array})


def write_names(file: Path) -> None:
    variables = scipy.io.loadmat(file) if file.is_file() else {}
    names = np.array([NAMES], dtype=object)
    scipy.io.savemat(file, {k: v for k, v in variables.items() if k[0] != "_"} | {"class_names": names})


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    fields = (*CORNERS, "class", "fname")
    write_mat(
        tmp_path / "devkit/cars_train_annos.mat",
        fields,
        [(39, 116, 569, 375, 14, "00001.jpg"), (1, 1, 256, 127, 98, "00002.jpg"), (5, 6, 70, 80, 99, "00003.jpg")],
    )
    write_mat(
        tmp_path / "devkit/cars_test_annos.mat",
        (*CORNERS, "fname"),
        [(30, 52, 246, 147, "00001.jpg"), (2, 3, 40, 50, "00002.jpg")],
    )
    write_names(tmp_path / "devkit/cars_meta.mat")
    return tmp_path


def add_labelled_test(root: Path) -> None:
    write_mat(
        root / "cars_test_annos_withlabels.mat",
        (*CORNERS, "class", "fname"),
        [(30, 52, 246, 147, 196, "00001.jpg"), (2, 3, 40, 50, 1, "00002.jpg")],
    )


def check_pooled(dataset: Cars196, paths: tuple[str, ...]) -> None:
    table = dataset.table
    assert table.path == paths
    assert table.label.tolist() == [13, 97, 98, 195, 0]
    assert table.class_names == NAMES
    assert table.is_train.tolist() == [True, True, False, False, True]
    assert table.is_query.tolist() == table.is_gallery.tolist() == [False, False, True, True, False]
    # The files count pixels from 1 and include the last one: 1, 1, 256, 127 is the whole of a 256 x 127 picture.
    assert table.box is not None
    assert table.box[:2].tolist() == [[38, 115, 569, 375], [0, 0, 256, 127]]
    assert table.box[3].tolist() == [29, 51, 246, 147]


DEVKIT_PATHS = (
    "cars_train/00001.jpg",
    "cars_train/00002.jpg",
    "cars_train/00003.jpg",
    "cars_test/00001.jpg",
    "cars_test/00002.jpg",
)


def test_the_devkit_layout_pools_both_halves_and_splits_by_class(devkit):
    add_labelled_test(devkit)
    dataset = Cars196(devkit)
    check_pooled(dataset, DEVKIT_PATHS)
    assert dataset.missing_annotations() == []
    assert dataset.image_path(3) == devkit / "cars_test" / "00001.jpg"


@pytest.mark.parametrize("name", ["cars_test_labels.txt", "devkit/cars_test_labels.txt", "mmalnet_test.txt"])
def test_a_text_list_gives_the_test_classes_that_the_devkit_lacks(devkit, name):
    (devkit / name).write_text("00002.jpg 1\n00001.jpg 196\n")
    check_pooled(Cars196(devkit), DEVKIT_PATHS)


def test_the_layout_of_one_mat_reads_the_same(tmp_path):
    rows = [
        ("car_ims/000001.jpg", 39, 116, 569, 375, 14, 0),
        ("car_ims/000002.jpg", 1, 1, 256, 127, 98, 0),
        ("car_ims/000003.jpg", 5, 6, 70, 80, 99, 0),
        ("car_ims/000004.jpg", 30, 52, 246, 147, 196, 1),
        ("car_ims/000005.jpg", 2, 3, 40, 50, 1, 1),
    ]
    write_mat(tmp_path / "cars_annos.mat", ("relative_im_path", *CORNERS, "class", "test"), rows)
    write_names(tmp_path / "cars_annos.mat")
    dataset = Cars196(tmp_path)
    check_pooled(dataset, tuple(str(row[0]) for row in rows))
    assert dataset.missing_annotations() == []


def test_the_training_half_alone_is_a_part_of_the_data_set(devkit):
    (devkit / "devkit/cars_test_annos.mat").unlink()
    dataset = Cars196(devkit)
    assert dataset.table.path == DEVKIT_PATHS[:3]
    assert dataset.protocol.edition.startswith("partial-")
    assert dataset.missing_annotations() == ["devkit/cars_test_annos.mat", "cars_test_annos_withlabels.mat"]


def test_one_annotation_alone_is_read(devkit):
    write_mat(devkit / "devkit/cars_train_annos.mat", (*CORNERS, "class", "fname"), [(1, 2, 3, 4, 5, "00001.jpg")])
    (devkit / "devkit/cars_test_annos.mat").unlink()
    assert Cars196(devkit).table.label.tolist() == [4]


def test_test_pictures_without_classes_are_never_dropped_in_silence(devkit):
    with pytest.raises(DataError) as error:
        Cars196(devkit).table  # noqa: B018
    for word in (
        "cars_test_annos.mat",
        "cars_test_annos_withlabels.mat",
        "cars_test_labels.txt",
        '"picture.jpg class"',
    ):
        assert word in str(error.value)


def test_a_text_list_that_lacks_a_picture_is_named(devkit):
    (devkit / "mmalnet_test.txt").write_text("00001.jpg 196\n")
    with pytest.raises(DataError, match=r"mmalnet_test\.txt has no entry for picture '00002\.jpg'"):
        Cars196(devkit).table  # noqa: B018


def test_a_text_list_with_a_malformed_line_is_named(devkit):
    (devkit / "mmalnet_test.txt").write_text("00001.jpg 196\n00002.jpg\n")
    with pytest.raises(DataError, match=r"mmalnet_test\.txt, line 2: expected picture, class; found '00002\.jpg'"):
        Cars196(devkit).table  # noqa: B018


def test_a_file_that_is_no_mat_is_named(devkit):
    (devkit / "devkit/cars_train_annos.mat").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=r"cars_train_annos\.mat: not a readable MATLAB file"):
        Cars196(devkit).table  # noqa: B018


def test_a_mat_cut_short_is_named(devkit):
    file = devkit / "devkit/cars_train_annos.mat"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cars_train_annos\.mat"):
        Cars196(devkit).table  # noqa: B018


def test_a_mat_without_the_expected_fields_is_named(devkit):
    write_mat(devkit / "devkit/cars_train_annos.mat", (*CORNERS, "fname"), [(1, 2, 3, 4, "00001.jpg")])
    with pytest.raises(DataError, match=r"cars_train_annos\.mat: expected annotations with fname, class, bbox_x1"):
        Cars196(devkit).table  # noqa: B018


def test_a_class_without_a_name_is_reported(devkit):
    (devkit / "mmalnet_test.txt").write_text("00001.jpg 197\n00002.jpg 1\n")
    with pytest.raises(DataError, match="classes 1 to 197, but the names are those of 1 to 196"):
        Cars196(devkit).table  # noqa: B018


def test_a_missing_folder_names_both_layouts(tmp_path):
    with pytest.raises(
        DatasetNotFoundError, match=r"no devkit/cars_train_annos\.mat or cars_annos\.mat.*dead since 2023"
    ):
        Cars196(tmp_path)
