"""Miniatures have the true formats, the same bytes every time, and classes that can be told apart."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from PIL import Image

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.miniature import MARKER, synthesize

IMAGES_PER_CLASS = {"cub": 12, "cars196": 12, "sop": 5, "inshop": 7, "stanford_dogs": 12}
NAMES = tuple(IMAGES_PER_CLASS)
CLOSED_SET = ("stanford_dogs",)  # the classes searched are those trained on


@pytest.fixture(scope="module")
def folder(drawn: Callable[[str], Path]) -> Path:
    (folder,) = {drawn(name).parent for name in NAMES}
    return folder


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Miniatures of two images a class, where only the frame around the drawing is tested."""
    for name in NAMES:
        module = import_module(f"retrieval_bench.datasets.miniature.{name}")
        constant = "IMAGES_PER_ITEM" if name in ("sop", "inshop") else "IMAGES_PER_CLASS"
        monkeypatch.setattr(module, constant, 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read(name: str, folder: Path) -> RetrievalDataset:
    return dataset_class(name)(folder / name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("few_images")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str, tmp_path: Path):
    first, again, other = (
        contents(synthesize(name, tmp_path / x, seed=seed)) for x, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == again
    pictures = [k for k in first if k.lower().endswith(".jpg")]
    assert len({first[k] for k in pictures}) == len(pictures)
    assert {first[k] for k in pictures}.isdisjoint(other.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_finds_enough_classes_on_both_sides(name: str, folder: Path):
    table = read(name, folder).table
    for role in ("train", "query", "gallery"):
        assert table.counts()[role]["classes"] >= 10
    trained, searched = (set(table.label[rows]) for rows in (table.is_train, table.is_query | table.is_gallery))
    assert trained == searched if name in CLOSED_SET else trained.isdisjoint(searched)
    assert np.unique(table.label, return_counts=True)[1].tolist() == [IMAGES_PER_CLASS[name]] * len(
        np.unique(table.label)
    )
    assert len(set(table.path)) == len(table)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_has_somebody_to_find(name: str, folder: Path):
    truth = read(name, folder).ground_truth
    assert min(len(x) for x in truth.positives) >= 2


def test_queries_and_gallery_of_inshop_are_apart(folder: Path):
    table = read("inshop", folder).table
    assert not (table.is_query & table.is_gallery).any()
    assert (table.is_train ^ table.is_query ^ table.is_gallery).all()


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_small_jpegs_and_boxes_lie_in_them(name: str, folder: Path):
    dataset = read(name, folder)
    box = dataset.table.box
    assert (box is None) == (name == "sop")
    for row in range(0, len(dataset.table), 7):
        with Image.open(dataset.image_path(row)) as image:
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert 108 <= min(image.size) <= max(image.size) <= 152
            if box is not None:
                left, top, right, bottom = box[row].tolist()
                assert 0 <= left < right <= image.width
                assert 0 <= top < bottom <= image.height
                # The object fills a good part of the picture, and never merely a corner.
                assert (right - left) * (bottom - top) > 0.04 * image.width * image.height
    assert sum(len(x) for x in contents(folder / name).values()) < 4_000_000


def nearest_neighbour_recall(dataset: RetrievalDataset, features: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Recall@1 of features under the protocol, and what chance would reach."""
    table = dataset.table
    query, gallery = table.rows("query"), table.rows("gallery")
    distance = ((features[query][:, None] - features[gallery][None]) ** 2).sum(-1)
    same = table.label[query][:, None] == table.label[gallery][None]
    itself = query[:, None] == gallery[None]
    hits = same[np.arange(len(query)), np.where(itself, np.inf, distance).argmin(1)]
    return float(hits.mean()), float((same & ~itself).sum() / (~itself).sum())


def thumbnails(dataset: RetrievalDataset, side: int) -> npt.NDArray[np.float64]:
    images = []
    for row in range(len(dataset.table)):
        with Image.open(dataset.image_path(row)) as image:
            images.append(np.asarray(image.resize((side, side), Image.Resampling.BOX), dtype=np.float64) / 255)
    return np.stack(images)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_tell_classes_far_better_than_chance_and_far_from_perfectly(name: str, folder: Path):
    dataset = read(name, folder)
    recall, chance = nearest_neighbour_recall(dataset, thumbnails(dataset, 16).reshape(len(dataset.table), -1))
    assert 1.8 * chance < recall < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_backgrounds_do_not_tell_classes(name: str, folder: Path):
    dataset = read(name, folder)
    corners = thumbnails(dataset, 12)[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(len(dataset.table), -1)
    recall, chance = nearest_neighbour_recall(dataset, corners)
    queries = len(dataset.table.rows("query"))
    assert recall < chance + 4 * np.sqrt(chance / queries)


def test_cub_has_the_original_lists(folder: Path):
    top = folder / "cub" / "CUB_200_2011"
    patterns = {
        "images.txt": r"\d+ (\d{3})\.(\w+)/\2_\d{4}_\d+\.jpg",
        "image_class_labels.txt": r"\d+ \d+",
        "train_test_split.txt": r"\d+ [01]",
        "bounding_boxes.txt": r"\d+( \d+\.0){4}",
        "classes.txt": r"\d+ \d{3}\.\w+",
    }
    for name, pattern in patterns.items():
        lines = (top / name).read_text().splitlines()
        assert len(lines) == (20 if name == "classes.txt" else 240)
        assert all(re.fullmatch(pattern, line) for line in lines), name
    official = dataset_class("cub")(folder / "cub", "official").table.counts()
    assert official["train"] == official["query"] == {"images": 120, "classes": 20}


def test_cars196_has_the_original_structs(folder: Path):
    top = folder / "cars196"
    corners = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
    for name, fields, half in (
        ("devkit/cars_train_annos.mat", [*corners, "class", "fname"], "train"),
        ("devkit/cars_test_annos.mat", [*corners, "fname"], "test"),
        ("cars_test_annos_withlabels.mat", [*corners, "class", "fname"], "test"),
    ):
        annotations = scipy.io.loadmat(top / name)["annotations"]
        assert annotations.shape == (1, 120)
        assert list(annotations.dtype.names) == fields
        assert annotations[0, 0]["fname"].tolist() == ["00001.jpg"]
        assert annotations[0, 0]["bbox_x1"].shape == (1, 1)
        assert len(list((top / f"cars_{half}").iterdir())) == 120
    assert scipy.io.loadmat(top / "devkit" / "cars_meta.mat")["class_names"].shape == (1, 196)


@pytest.mark.data
def test_cars196_structs_are_those_of_the_real_development_kit(shared: Path, folder: Path):
    for name in ("cars_train_annos.mat", "cars_test_annos.mat"):
        real = scipy.io.loadmat(shared / "annotations" / "cars196" / "devkit" / name)["annotations"]
        mine = scipy.io.loadmat(folder / "cars196" / "devkit" / name)["annotations"]
        assert real.dtype == mine.dtype
        for field in real.dtype.names:
            assert real[0, 0][field].shape == mine[0, 0][field].shape
            assert real[0, 0][field].dtype.kind == mine[0, 0][field].dtype.kind


def test_stanford_dogs_has_the_original_lists_and_annotations(folder: Path):
    top = folder / "stanford_dogs"
    lists = {name: scipy.io.loadmat(top / f"{name}_list.mat") for name in ("train", "test", "file")}
    files = {name: [file.item() for file in content["file_list"][:, 0]] for name, content in lists.items()}
    assert {name: len(x) for name, x in files.items()} == {"train": 140, "test": 100, "file": 240}
    assert files["file"] == sorted(files["train"] + files["test"])
    for name, content in lists.items():
        for variable, kind in (("file_list", "O"), ("annotation_list", "O"), ("labels", "u")):
            assert content[variable].shape == (len(files[name]), 1)
            assert content[variable].dtype.kind == kind
        assert [x.item() + ".jpg" for x in content["annotation_list"][:, 0]] == files[name]
        assert all(re.fullmatch(r"(n\d{8})-\w+/\1_\d+\.jpg", x) for x in files[name])
        assert (content["labels"].min(), content["labels"].max()) == (1, 20)
    assert all((top / "Images" / x).is_file() for x in files["file"])
    annotation = (top / "Annotation" / files["file"][0].removesuffix(".jpg")).read_text()
    assert re.search(r"<object>\s*<name>\w+</name>.*<bndbox>(\s*<[xy]m(in|ax)>\d+</[xy]m\2>){4}", annotation, re.DOTALL)


def test_sop_has_the_original_lists(folder: Path):
    top = folder / "sop" / "Stanford_Online_Products"
    train, test, everything = ((top / f"Ebay_{x}.txt").read_text().splitlines() for x in ("train", "test", "info"))
    assert train[0] == test[0] == everything[0] == "image_id class_id super_class_id path"
    assert everything[1:] == train[1:] + test[1:]
    assert [int(line.split()[0]) for line in everything[1:]] == list(range(1, 241))
    assert all(re.fullmatch(r"\d+ \d+ \d+ [a-z_]+_final/\d{12}_\d\.JPG", line) for line in everything[1:])
    assert int(test[1].split()[1]) == 11319  # the first test class of the original


def test_inshop_has_the_original_columns(folder: Path):
    for name, header in (
        ("Eval/list_eval_partition.txt", "image_name item_id evaluation_status"),
        ("Anno/list_bbox_inshop.txt", "image_name clothes_type pose_type x_1 y_1 x_2 y_2"),
    ):
        count, columns, *rows = (folder / "inshop" / name).read_text().splitlines()
        assert int(count) == len(rows) == 252
        assert columns == header
        assert all(row[74] == " " != row[75] and row.startswith("img/") for row in rows)


@pytest.mark.data
def test_inshop_columns_are_those_of_the_real_list(shared: Path, folder: Path):
    real = (shared / "annotations" / "inshop" / "Eval" / "list_eval_partition.txt").read_text().splitlines()[2]
    mine = (folder / "inshop" / "Eval" / "list_eval_partition.txt").read_text().splitlines()[2]
    assert real.index(" id_") == mine.index(" id_")


@pytest.mark.usefixtures("few_images")
def test_a_miniature_that_is_there_is_kept(tmp_path: Path):
    root = synthesize("sop", tmp_path / "sop")
    (root / "own.txt").write_text("mine")
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert synthesize("sop", root) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    for name, seed in (("sop", 1), ("cub", 0)):
        with pytest.raises(DataError, match="holds another miniature"):
            synthesize(name, root, seed=seed)
    assert (root / "own.txt").read_text() == "mine"


@pytest.mark.usefixtures("few_images")
def test_a_miniature_of_an_older_drawing_is_drawn_anew(tmp_path: Path):
    root = synthesize("sop", tmp_path / "sop")
    label = (root / MARKER).read_text()
    picture = next(root.rglob("*.JPG"))
    good = picture.read_bytes()
    picture.write_bytes(b"old")
    (root / MARKER).write_text(label.replace("version: ", "version: 0."))
    synthesize("sop", root)
    assert (root / MARKER).read_text() == label
    assert picture.read_bytes() == good


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not empty"):
        synthesize("cub", tmp_path / "mine")
    with pytest.raises(DataError, match="is a file"):
        synthesize("cub", tmp_path / "mine" / "thesis.txt")
    assert contents(tmp_path) == {"mine/thesis.txt": b"years of work"}


@pytest.mark.usefixtures("few_images")
def test_an_empty_folder_is_filled(tmp_path: Path):
    (tmp_path / "new").mkdir()
    assert (synthesize("sop", tmp_path / "new") / MARKER).is_file()


def test_nothing_stays_behind_when_the_drawing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []

    def fail(*_: object) -> None:
        drawn.append(1)
        if len(drawn) == 5:
            raise OSError("disk full")

    monkeypatch.setattr("retrieval_bench.datasets.miniature.cub.save_jpeg", fail)
    with pytest.raises(OSError, match="disk full"):
        synthesize("cub", tmp_path / "cub")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path):
    with pytest.raises(DataError, match="cars196, cub, imagenet, inshop, sop, stanford_dogs"):
        synthesize("birds", tmp_path / "x")


def test_traits_cover_their_whole_range():
    from retrieval_bench.datasets.miniature.strata import spread

    rows = np.array(spread(np.random.default_rng(0), 10, 4))
    assert rows.shape == (10, 4)
    for column in rows.T:
        assert np.floor(np.sort(column) * 10).tolist() == list(range(10))
    assert all(not np.array_equal(np.argsort(a), np.argsort(b)) for a, b in pairwise(rows.T))


def test_drawing_imports_neither_torch_nor_more_than_it_needs(tmp_path: Path):
    code = (
        "import sys, pathlib; from retrieval_bench.datasets.miniature import sop, synthesize; sop.IMAGES_PER_ITEM = 1; "
        "synthesize('sop', pathlib.Path(sys.argv[1])); assert not {'torch', 'scipy', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "sop")], check=True)
