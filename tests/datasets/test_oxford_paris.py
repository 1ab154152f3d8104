"""Oxford and Paris: text and pickled ground truth, boxes, corrupt files, layouts, settings and distractors."""

import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError
from retrieval_bench.datasets.images import image_size
from retrieval_bench.datasets.miniature import oxford_paris as writer
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.datasets.oxford_paris import LandmarkDataset, Oxford5k, Oxford105k, Paris6k
from retrieval_bench.datasets.revisited import ROxford5k
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.datasets.verify import verify

KEYS = ("oxford5k", "paris6k", "oxford105k", "paris106k", "roxford5k", "rparis6k")
PICTURES, STREETS, QUERIES, DISTRACTORS = 5 * 14, 24, 25, 30


@pytest.fixture(scope="module")
def miniatures(drawn: Callable[[str], Path]) -> Path:
    (folder,) = {drawn(name).parent for name in (*KEYS, "flickr100k")}
    return folder


def read(name: str, place: Path, protocol: str | None = None) -> LandmarkDataset:
    dataset = dataset_class(name)(place, protocol)
    assert isinstance(dataset, LandmarkDataset)
    return dataset


def pickled(folder: Path, name: str = "gnd_oxford5k.pkl", **changes: object) -> Path:
    """A ground truth of two queries and four pictures."""
    truth = {"bbx": [1, 2.5, 30, 40], "ok": [0, 2], "junk": [3]}
    content = {"imlist": ["b_000001", "a_000002", "c_000003", "d_000004"], "qimlist": ["b_000001", "c_000003"]}
    content |= {"gnd": [truth, truth | {"ok": [1]}], **changes}
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, 2))
    return folder


def write_texts(folder: Path, **lists: str) -> Path:
    (folder / "jpg").mkdir(parents=True)
    (folder / "gt").mkdir()
    for i, name in enumerate("abcd"):
        (folder / "jpg" / f"{name}_00000{i}.jpg").touch()
    words = {"query": "oxc1_b_000001 1 2.5 30 40", "good": "b_000001", "ok": "a_000000", "junk": "d_000003"} | lists
    for kind, text in words.items():
        (folder / "gt" / f"hall_1_{kind}.txt").write_text(text.replace(",", "\n") + "\n")
    return folder


def test_a_query_has_a_row_of_its_own_and_stays_in_its_database(tmp_path):
    table = Oxford5k(pickled(tmp_path / "o")).table
    names = ("a_000002", "b_000001", "c_000003", "d_000004", "b_000001", "c_000003")
    assert table.path == tuple(f"jpg/{name}.jpg" for name in names)
    assert table.rows("query").tolist() == [4, 5]
    assert table.rows("gallery").tolist() == [0, 1, 2, 3]
    truth = Oxford5k(tmp_path / "o").ground_truth
    assert [x.tolist() for x in truth.positives] == [[1, 2], [0]]  # b itself, c; then a
    assert [x.tolist() for x in truth.junk] == [[3], [3]]  # the query's own picture is no junk
    assert table.box[4].tolist() == [1, 2.5, 30, 40]
    assert table.box[0].tolist() == [0, 0, np.inf, np.inf]
    assert table.label.tolist() == [0, 0, 0, -1, 0, 0]
    assert table.class_names == ("all_souls",)


def test_text_files_say_the_same_as_the_pickle(tmp_path):
    text = Oxford5k(write_texts(tmp_path / "t"))
    truth = {"bbx": [1, 2.5, 30, 40], "ok": [0, 1], "junk": [3]}
    images = ["a_000000", "b_000001", "c_000002", "d_000003"]
    plain = Oxford5k(pickled(tmp_path / "p", imlist=images, qimlist=["b_000001"], gnd=[truth]))
    assert text.table.fingerprint == plain.table.fingerprint
    assert text.table.class_names == ("hall",)


def test_queries_are_read_in_the_order_of_their_numbers(tmp_path):
    folder = write_texts(tmp_path)
    for number, box in ((2, "2 0 9 9"), (10, "10 0 19 9")):
        for kind in ("good", "ok", "junk"):
            shutil.copy(folder / "gt" / f"hall_1_{kind}.txt", folder / "gt" / f"hall_{number}_{kind}.txt")
        (folder / "gt" / f"hall_{number}_query.txt").write_text(f"oxc1_a_000000 {box}\n")
    table = Oxford5k(folder).table
    assert table.box[table.is_query][:, 0].tolist() == [1, 2, 10]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"query": "oxc1_b_000001 1 2 3"}, r"hall_1_query\.txt, line 1: expected picture, x1, y1, x2, y2"),
        ({"query": ""}, r"hall_1_query\.txt: expected one line, found 0"),
        ({"good": "../x"}, r"hall_1_good\.txt, line 1"),
        ({"ok": "e_000009,f_000001"}, r"2 pictures that the ground truth names are not there, the first is e_000009"),
    ],
)
def test_a_wrong_text_file_is_named(tmp_path, lists, message):
    with pytest.raises(DataError, match=message):
        Oxford5k(write_texts(tmp_path, **lists)).table  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imlist": "abc"}, "no list 'imlist'"),
        ({"imlist": ["../../etc/passwd", "a", "b", "c"]}, "imlist should hold names"),
        ({"gnd": []}, "2 query pictures, 0 queries"),
        ({"gnd": [{"bbx": [1, 2, 3], "ok": []}] * 2}, "bbx should be four numbers"),
        ({"gnd": [{"bbx": [1, 2, 3, 4], "ok": [4]}] * 2}, "ok should hold numbers from 0 to 3"),
        ({"gnd": [{"bbx": [1, 2, 3, 4], "ok": [True]}] * 2}, "ok should hold numbers"),
        ({"gnd": [[], []]}, "bbx should be four numbers"),
    ],
)
def test_a_wrong_pickle_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"gnd_oxford5k\.pkl.*{message}"):
        Oxford5k(pickled(tmp_path, **changes)).table  # noqa: B018


def test_text_without_pictures_says_that_the_database_is_unknown(tmp_path):
    shutil.rmtree(write_texts(tmp_path) / "jpg")
    with pytest.raises(DataError, match=r"does not list the database.*gnd_oxford5k\.pkl"):
        Oxford5k(tmp_path).table  # noqa: B018


def test_what_a_setting_leaves_out_is_junk(tmp_path):
    truth = {"bbx": [1, 2, 3, 4], "easy": [0], "hard": [1, 2], "junk": [3]}
    content = {"qimlist": ["q_000001", "q_000002"], "gnd": [truth, truth | {"easy": []}]}
    folder = pickled(tmp_path, "gnd_roxford5k.pkl", **content)
    lists = {}
    for name in ("easy", "medium", "hard"):
        found = ROxford5k(folder, name).ground_truth
        lists[name] = [[sorted(x.tolist()) for x in rows] for rows in (found.positives, found.junk)]
    # Rows are in the order of names: 0 of the pickle is row 1, 1 is 0, 2 and 3 stay.
    assert lists == {
        "easy": [[[1], []], [[0, 2, 3], [0, 2, 3]]],
        "medium": [[[0, 1, 2], [0, 2]], [[3], [3]]],
        "hard": [[[0, 2], [0, 2]], [[1, 3], [3]]],
    }
    assert not (set(ROxford5k(folder).table.path[-2:]) & set(ROxford5k(folder).table.path[:4]))


@pytest.mark.parametrize("name", KEYS)
def test_miniatures_read_like_the_originals(miniatures, name):
    for protocol in dataset_class(name).protocols:
        dataset = read(name, miniatures / name, protocol.name)
        revisited = name.startswith("r")
        database = PICTURES + STREETS - QUERIES * revisited + DISTRACTORS * name.endswith(("05k", "06k"))
        assert dataset.table.counts() == {
            "query": {"images": QUERIES, "classes": 5},
            "gallery": {"images": database, "classes": 5},
        }
        assert dataset.protocol.edition == f"miniature-{dataset.table.fingerprint}"
        # Only two queries of a real setting have nothing to find; the miniature has one.
        assert (dataset.ground_truth.positives.lengths == 0).sum() == (protocol.name == "easy")
        for row in (0, *dataset.table.rows("query").tolist(), len(dataset.table) - 1):
            height, width = image_size(dataset.image_path(row))
            x1, y1, x2, y2 = dataset.table.box[row]
            assert x1 < x2
            assert y1 < y2
            if dataset.table.is_query[row]:
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height


def test_the_query_is_among_its_own_positives_except_where_revisited(miniatures):
    for name in KEYS:
        dataset = read(name, miniatures / name)
        table, truth = dataset.table, dataset.ground_truth
        own = [
            any(table.path[p] == table.path[q] for p in found)
            for q, found in zip(truth.query, truth.positives, strict=True)
        ]
        assert set(own) == {not name.startswith("r")}


def test_corrupt_files_are_left_out_and_reported(miniatures, caplog):
    caplog.set_level(logging.INFO, logger="retrieval_bench")
    dataset = Paris6k(miniatures / "paris6k")
    junk = (miniatures / "paris6k" / "gt_files_120310" / "louvre_1_junk.txt").read_text().split()
    assert len(junk) == 3
    assert len(dataset.ground_truth.junk[15]) == 2
    assert {"paris_louvre_000136", "paris_pompidou_000195"} <= dataset.pictures.keys()
    assert not any("paris_louvre_000136" in path or "pompidou_000195" in path for path in dataset.table.path)
    assert "2 corrupt pictures are left out: paris_louvre_000136, paris_pompidou_000195" in caplog.text
    assert dataset.dropped == ("paris_louvre_000136", "paris_pompidou_000195")
    assert len(Paris6k.corrupt) == 20


def test_pictures_are_found_in_one_folder_in_many_and_beside(miniatures, tmp_path):
    paris = Paris6k(miniatures / "paris6k")
    assert paris.image_path(0) == miniatures / "paris6k" / "paris" / "defense" / "paris_defense_000000.jpg"
    shutil.copytree(miniatures / "roxford5k", tmp_path / "roxford5k")
    (tmp_path / "roxford5k" / "jpg").rename(tmp_path / "jpg")
    (tmp_path / "oxford5k").mkdir()
    (tmp_path / "jpg").rename(tmp_path / "oxford5k" / "jpg")
    assert ROxford5k(tmp_path / "roxford5k").image_path(0).parent == tmp_path / "oxford5k" / "jpg"
    absent = pickled(tmp_path / "alone")
    assert Oxford5k(absent).image_path(0) == absent / "jpg" / "a_000002.jpg"


def test_distractors_join_any_gallery_and_answer_nobody(miniatures):
    folder = miniatures / "flickr100k"
    for kind, name in ((Oxford5k, "oxford5k"), (ROxford5k, "roxford5k")):
        plain, more = kind(miniatures / name), kind(miniatures / name, distractors=folder)
        n = len(plain.table)
        assert len(more.table) == n + DISTRACTORS
        assert more.table.path[:n] == plain.table.path
        assert more.table.is_gallery[n:].all()
        assert (more.table.label[n:] == -1).all()
        assert [x.tolist() for x in more.ground_truth.positives] == [x.tolist() for x in plain.ground_truth.positives]
        assert more.image_path(n) == folder / "oxc1_100k" / "architecture" / "architecture_0000.jpg"
        assert more.image_path(n).is_file()
        assert more.image_path(n - 1).parent.name == "jpg"
        assert more.protocol.edition != plain.protocol.edition  # its numbers share no column


def test_the_large_sets_take_both_parts_from_beside_them(miniatures):
    beside = Oxford105k(miniatures / "not_there")
    assert beside.root == miniatures / "oxford5k"
    assert beside.distractor_folder == miniatures / "flickr100k"
    inside = Oxford105k(miniatures / "oxford105k")
    assert inside.table.fingerprint == beside.table.fingerprint


def test_missing_distractors_are_named(tmp_path):
    pickled(tmp_path / "oxford5k")
    with pytest.raises(DatasetNotFoundError, match=r"no \.jpg distractors in .*flickr100k\. Unpack Flickr100k"):
        Oxford105k(tmp_path / "oxford5k").table  # noqa: B018
    with pytest.raises(DatasetNotFoundError, match=r"no gnd_paris6k\.pkl or gt_files_170407/\*_query\.txt"):
        Paris6k(tmp_path / "nothing")


@pytest.mark.parametrize("name", [*KEYS, "flickr100k"])
def test_a_miniature_differs_from_its_card_in_numbers_alone(miniatures, name):
    assert {x.kind for x in verify(name, miniatures / name)} == {"counts"}


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "STREETS", 2)
    monkeypatch.setattr(writer, "DISTRACTORS", 3)
    monkeypatch.setattr(writer, "PICTURES", {"good": 5, "ok": 1, "junk": 1})
    for name in ("rparis6k", "oxford105k"):
        first, again, other = (
            {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}
            for top in (synthesize(name, tmp_path / name / x, seed=s) for x, s in (("a", 3), ("b", 3), ("c", 4)))
        )
        assert first == again
        pictures = {k for k in first if k.endswith(".jpg")}
        assert len({first[k] for k in pictures}) == len(pictures) == (5 * 7 + 2 + 3 * (name == "oxford105k"))
        assert all(first[k] != other[k] for k in pictures)


def test_a_subset_of_landmarks_is_refused_before_anything_is_written(miniatures, tmp_path):
    with pytest.raises(DataError, match="oxford5k cannot be cut"):
        cut_subset(Oxford5k(miniatures / "oxford5k"), tmp_path / "part", classes=2, images_per_class=2)
    assert not (tmp_path / "part").exists()


@pytest.fixture(scope="module")
def annotations(shared: Path) -> Path:
    return shared / "annotations"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "protocol", "queries", "database", "positives", "without"),
    [
        ("oxford5k", "crop-i", 55, 5063, 51.636, 0),
        ("paris6k", "crop-x", 55, 6392, 162.818, 0),
        ("roxford5k", "medium", 70, 4993, 78.943, 0),
        ("roxford5k", "easy", 70, 4993, 43.271, 2),
        ("roxford5k", "hard", 70, 4993, 35.671, 0),
        ("rparis6k", "medium", 70, 6322, 246.057, 0),
    ],
)
def test_the_real_ground_truth_reads_to_the_published_numbers(
    annotations, name, protocol, queries, database, positives, without
):
    dataset = read(name, annotations / name, protocol)
    assert dataset.table.counts() == {
        "query": {"images": queries, "classes": 11},
        "gallery": {"images": database, "classes": 11},
    }
    lengths = dataset.ground_truth.positives.lengths
    assert lengths.mean() == pytest.approx(positives, abs=5e-4)
    assert (lengths == 0).sum() == without
    assert dataset.protocol.edition == "original"
    if name in ("oxford5k", "paris6k"):
        table, truth = dataset.table, dataset.ground_truth
        own = [table.path[q] in {table.path[p] for p in x} for q, x in zip(truth.query, truth.positives, strict=True)]
        assert sum(own) == 55
    assert not dataset.corrupt & {Path(path).stem for path in dataset.table.path}


@pytest.mark.data
def test_the_real_text_files_say_the_same_as_the_real_pickle(annotations, tmp_path):
    plain = Oxford5k(annotations / "oxford5k")
    (tmp_path / "jpg").mkdir()
    for row in plain.table.rows("gallery"):
        (tmp_path / plain.table.path[row]).touch()
    (tmp_path / "gt_files_170407").symlink_to(annotations / "oxford5k" / "gt_files_170407")
    text = Oxford5k(tmp_path)
    assert text.table.fingerprint == plain.table.fingerprint
    assert text.table.class_names == plain.table.class_names == tuple(Oxford5k.landmarks)


@pytest.mark.data
def test_five_real_landmarks_read_with_their_pictures(shared):
    dataset = Oxford5k(shared / "sets" / "landmarks_5")
    assert dataset.table.counts() == {"query": {"images": 10, "classes": 5}, "gallery": {"images": 23, "classes": 5}}
    for row in range(len(dataset.table)):
        height, width = image_size(dataset.image_path(row))
        if dataset.table.is_query[row]:
            x1, y1, x2, y2 = dataset.table.box[row]
            assert (x1, y1, x2, y2) == pytest.approx((0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height), abs=0.6)
