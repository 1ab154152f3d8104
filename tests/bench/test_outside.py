"""Descriptors made elsewhere: every format reads the same, everything wrong is one line."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.outside import read_outside
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.descriptors import Descriptors, save_sides
from retrieval_bench.retrieval.ground_truth import RaggedLists
from retrieval_bench.retrieval.protocol import Protocol

NAMES = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
VECTORS = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0], [6.0, 8.0]], np.float32)


def dataset(table, crop="none"):
    way = Protocol(dataset="cub", name="test", query_crop=crop, metrics=("recall_at_1",), main_metric="recall_at_1")
    truth = table.ground_truth(exclude_self=True)
    return SimpleNamespace(name="cub", table=table, protocol=way, ground_truth=truth)


@pytest.fixture
def labelled():
    """Four pictures that ask and are searched, and one to train on before them."""
    every = np.array([False, True, True, True, True])
    return dataset(SampleTable(("t.jpg", *NAMES), np.array([0, 0, 0, 1, 1]), ("a", "b"), ~every, every, every))


def landmarks(crop):
    """Two searched pictures, and the second of them once more as a query."""
    asks = np.array([False, False, True])
    lists = RaggedLists.from_lists([[0]]), RaggedLists.from_lists([[]])
    box = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [2, 2, 5, 5]], np.float32)
    paths = ("jpg/a.jpg", "jpg/b.jpg", "jpg/b.jpg")
    return dataset(SampleTable(paths, np.zeros(3, np.int64), ("a",), asks & ~asks, asks, ~asks, box, *lists), crop)


def read_whole(*arguments, **options) -> Descriptors:
    """What is read where the queries are described as all that is searched."""
    query, gallery = read_outside(*arguments, **options)
    assert query is gallery
    return gallery


def names_beside(path, names=NAMES):
    path.with_suffix(".txt").write_text("".join(f"{name}\n" for name in names))
    return path


def written(folder, kind, data, names=NAMES):
    """A file of descriptors and names in one of the formats."""
    path = folder / f"mine.{kind}"
    if kind == "npz":
        np.savez(path, descriptors=data, names=np.array(names))
        return path
    if kind == "npy":
        np.save(path, data)
    else:
        save_file({"vectors": torch.from_numpy(data)}, path)
    return names_beside(path, names)


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_every_format_reads_the_same_in_any_order(labelled, tmp_path, kind, order):
    file = written(tmp_path, kind, VECTORS[order], [NAMES[i] for i in order])
    found = read_whole(file, labelled, metric="dot").select([1, 2, 3, 4])
    assert (found.metric, found.image.tolist()) == ("dot", [1, 2, 3, 4])
    np.testing.assert_array_equal(found.data, VECTORS)


def test_cosine_is_the_default_and_makes_lengths_one(labelled, tmp_path):
    found = read_whole(written(tmp_path, "npz", VECTORS), labelled)
    np.testing.assert_allclose(found.data, [[0.6, 0.8], [1, 0], [0, -1], [0.6, 0.8]], rtol=1e-7)
    assert found.metric == "dot"
    far = read_whole(written(tmp_path, "npz", VECTORS), labelled, metric="euclidean")
    assert (far.metric, far.data.tolist()) == ("euclidean", VECTORS.tolist())


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_precisions_become_float32(labelled, tmp_path, kind):
    found = read_whole(written(tmp_path, "npy", VECTORS.astype(kind)), labelled, metric="dot")
    assert found.data.dtype == torch.float32
    assert found.data.tolist() == VECTORS.tolist()


def test_packed_codes_are_compared_by_hamming(labelled, tmp_path):
    codes = np.array([[255, 0], [1, 2], [3, 4], [0, 0]], np.uint8)
    for metric in (None, "hamming"):
        found = read_whole(written(tmp_path, "npz", codes), labelled, metric=metric)
        assert (found.metric, found.data.tolist()) == ("hamming", codes.tolist())
    with pytest.raises(BenchError, match=r"torch.uint8 cannot be compared by cosine: hamming is for uint8"):
        read_outside(written(tmp_path, "npz", codes), labelled, metric="cosine")
    with pytest.raises(BenchError, match=r"torch.float32 cannot be compared by hamming"):
        read_outside(written(tmp_path, "npz", VECTORS), labelled, metric="hamming")


def test_what_predict_wrote_needs_no_names(labelled, tmp_path):
    image = torch.tensor([4, 1, 1, 2, 3])  # two rows describe one image
    mine = Descriptors(torch.arange(10.0).reshape(5, 2), image, "euclidean")
    mine.save(tmp_path / "descriptors.npz")
    found = read_whole(tmp_path / "descriptors.npz", labelled)
    assert (found.metric, found.image.tolist(), found.data.tolist()) == (
        "euclidean",
        image.tolist(),
        mine.data.tolist(),
    )
    with pytest.raises(BenchError, match="says itself that it is euclidean; leave out --metric dot"):
        read_outside(tmp_path / "descriptors.npz", labelled, metric="dot")
    Descriptors(mine.data, image + 3, "dot").save(tmp_path / "descriptors.npz")
    with pytest.raises(BenchError, match=r"3 of 4 \(row 5, row 6, row 7\) are not in the sample table, which has 5"):
        read_outside(tmp_path / "descriptors.npz", labelled)
    Descriptors(mine.data[1:4], image[1:4]).save(tmp_path / "descriptors.npz")
    with pytest.raises(BenchError, match=r"2 of 4 \(b/1.jpg, b/2.jpg\) are missing"):
        read_outside(tmp_path / "descriptors.npz", labelled)


def test_what_predict_wrote_is_scored_under_the_protocol_it_was_written_for(labelled, tmp_path):
    file, mine = tmp_path / "descriptors.npz", Descriptors(torch.arange(10.0).reshape(5, 2), torch.arange(5))
    save_sides(mine, mine, file, made_for=labelled.protocol.label)
    assert torch.equal(read_whole(file, labelled).data, mine.data)
    save_sides(mine, mine, file, made_for="oxford5k crop-x 0123456789ab")
    with pytest.raises(BenchError, match=r"wrote this for oxford5k crop-x 0123456789ab .*, not for \w+ [\w-]+ \w{12}:"):
        read_outside(file, labelled)


def test_both_sides_that_predict_wrote_are_checked_each_for_its_own_pictures(tmp_path):
    file, data = tmp_path / "descriptors.npz", landmarks("activations")
    tables = Descriptors(torch.arange(4.0)[None], torch.tensor([2]), "adc")
    codes = Descriptors(torch.tensor([[0, 1], [1, 1], [1, 0]], dtype=torch.uint8), torch.tensor([0, 1, 1]), "adc")
    save_sides(tables, codes, file)
    query, gallery = read_outside(file, data)
    assert (query.metric, query.data.tolist(), query.image.tolist()) == ("adc", [[0, 1, 2, 3]], [2])
    assert (gallery.data.tolist(), gallery.image.tolist()) == (codes.data.tolist(), [0, 1, 1])
    everywhere = Descriptors(tables.data.repeat(3, 1), torch.arange(3), "adc")
    for sides, message in (
        ((tables, codes.select([0])), r"1 of 3 \(jpg/b.jpg\) are missing"),
        ((everywhere.select([0, 1]), codes), r"1 of 3 \(query:jpg/b.jpg\) are missing"),
        ((tables, Descriptors(codes.data, codes.image + 2, "adc")), r"1 of 2 \(row 3\) are not in the sample table"),
        ((Descriptors(tables.data / 0, tables.image, "adc"), codes), r"1 of 1 \(row 2\) are not finite"),
        ((tables, tables), "this is no file of descriptors .*asymmetric distances need tables"),
        ((codes, codes), "this is no file of descriptors .*asymmetric distances need tables"),
        ((tables, Descriptors(codes.data + 1, codes.image, "adc")), "codes are 0 to 1 here, got 1 to 2"),
    ):
        save_sides(*sides, file)
        with pytest.raises(BenchError, match=rf"^{file}: .*{message}"):
            read_outside(file, data)


def test_more_pictures_of_the_data_set_do_no_harm(labelled, tmp_path):
    file = written(tmp_path, "npz", np.concatenate([VECTORS, VECTORS[:1]]), [*NAMES, "t.jpg"])
    assert sorted(read_whole(file, labelled).image.tolist()) == [0, 1, 2, 3, 4]


def test_a_cropped_query_is_another_picture_than_the_searched_one(tmp_path):
    names = ["query:jpg/b.jpg", "jpg/a.jpg", "jpg/b.jpg"]
    file = written(tmp_path, "npz", VECTORS[:3], names)
    for crop in ("image", "activations", "none"):
        found = read_whole(file, landmarks(crop), metric="dot").select([0, 1, 2])
        np.testing.assert_array_equal(found.data, VECTORS[[1, 2, 0]])


def test_a_query_that_nobody_crops_is_its_searched_picture(tmp_path):
    file = written(tmp_path, "npz", VECTORS[:2], ["jpg/a.jpg", "jpg/b.jpg"])
    found = read_whole(file, landmarks("none"), metric="dot").select([0, 1, 2])
    np.testing.assert_array_equal(found.data, VECTORS[[0, 1, 1]])
    with pytest.raises(BenchError, match=r"1 of 3 \(query:jpg/b.jpg\) are missing, which protocol test of cub needs"):
        read_outside(file, landmarks("image"))


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([0, 1, 2], NAMES[:3], r"1 of 4 \(b/2.jpg\) are missing, which protocol test of cub needs"),
        ([0, 1, 2, 3, 3], [*NAMES, NAMES[1]], r"1 of 4 \(a/2.jpg\) are there more than once"),
        ([0, 1, 2, 3], [*NAMES[:3], "x.jpg"], r"1 of 4 \(x.jpg\) are no pictures of cub, whose names read like t.jpg"),
        ([0, 1, 2, 3], ["w", "x", "y", "z"], r"4 of 4 \(w, x, y, ...\) are no pictures of cub"),
        ([0, 1, 2], NAMES, "3 descriptors and 4 names"),
    ],
)
def test_wrong_names_are_one_line_with_the_first_and_their_number(labelled, tmp_path, rows, names, message):
    file = written(tmp_path, "npz", VECTORS[rows], names)
    with pytest.raises(BenchError, match=message) as caught:
        read_outside(file, labelled)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((1, 0), np.nan, r"1 of 4 \(a/2.jpg\) are not finite"),
        ((3, 1), -np.inf, r"1 of 4 \(b/2.jpg\) are not finite"),
        ((0, 0), 1e300, r"1 of 4 \(a/1.jpg\) are not finite \(nan, infinite, or beyond float32\)"),
        (1, 0.0, r"1 of 4 \(a/2.jpg\) are zero, which has no cosine"),
    ],
)
def test_values_that_cannot_be_compared_are_named(labelled, tmp_path, place, value, message):
    data = VECTORS.astype(np.float64)
    data[place] = value
    with pytest.raises(BenchError, match=message):
        read_outside(written(tmp_path, "npz", data), labelled)


def test_values_that_predict_wrote_are_checked_too(labelled, tmp_path):
    Descriptors(torch.tensor([[1.0], [torch.nan], [1.0], [1.0]]), torch.arange(1, 5)).save(tmp_path / "d.npz")
    with pytest.raises(BenchError, match=r"1 of 4 \(row 2\) are not finite"):
        read_outside(tmp_path / "d.npz", labelled)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(4, np.float32), r"one row of numbers a picture, found the shape \(4,\)"),
        (np.zeros((4, 0), np.float32), r"found the shape \(4, 0\)"),
        (np.zeros((4, 2, 2), np.float32), r"found the shape \(4, 2, 2\)"),
        (np.zeros((4, 2), np.int64), "expected floating-point vectors or uint8 packed codes, found torch.int64"),
    ],
)
def test_wrong_shapes_and_types_are_one_line(labelled, tmp_path, data, message):
    with pytest.raises(BenchError, match=message):
        read_outside(written(tmp_path, "npz", data), labelled)


def test_files_that_are_none_are_one_line(labelled, tmp_path):
    with pytest.raises(BenchError, match=r"no.npz: there is no such file"):
        read_outside(tmp_path / "no.npz", labelled)
    for kind in ("npz", "npy", "safetensors"):
        (tmp_path / f"bad.{kind}").write_bytes(b"nothing of the kind")
        with pytest.raises(BenchError, match=rf"bad.{kind}: this is no file of descriptors"):
            read_outside(tmp_path / f"bad.{kind}", labelled)
    (tmp_path / "bad.csv").write_text("1,2")
    with pytest.raises(BenchError, match=r"read from .npz, .npy and .safetensors, not '.csv'"):
        read_outside(tmp_path / "bad.csv", labelled)
    np.savez(tmp_path / "other.npz", features=VECTORS)
    with pytest.raises(BenchError, match="no array descriptors or vectors; found features"):
        read_outside(tmp_path / "other.npz", labelled)
    np.savez(tmp_path / "other.npz", vectors=VECTORS)
    with pytest.raises(BenchError, match="no array names; add one of texts"):
        read_outside(tmp_path / "other.npz", labelled)
    np.savez(tmp_path / "other.npz", vectors=VECTORS, names=np.arange(4))
    with pytest.raises(BenchError, match=r"names is int64 of shape \(4,\), expected a list of texts"):
        read_outside(tmp_path / "other.npz", labelled)
    np.savez(tmp_path / "other.npz", vectors=VECTORS, names=np.array(NAMES, object))
    with pytest.raises(
        BenchError, match=r"other.npz: it holds Python objects; save names as texts, with .astype\(str\)"
    ):
        read_outside(tmp_path / "other.npz", labelled)
    np.save(tmp_path / "alone.npy", VECTORS)
    with pytest.raises(
        BenchError, match=r"no names of its rows in .*alone.txt \(No such file or directory\); say with"
    ):
        read_outside(tmp_path / "alone.npy", labelled)


def test_an_array_of_whose_head_a_byte_is_wrong_is_one_line(labelled, tmp_path):
    file = written(tmp_path, "npy", VECTORS)
    file.write_bytes(file.read_bytes().replace(b"(4, 2)", b"(4, 2("))
    with pytest.raises(BenchError, match=r"mine\.npy: this is no file of descriptors"):
        read_outside(file, labelled)


def test_a_text_may_begin_with_a_mark_and_a_name_hold_strange_spaces(tmp_path):
    every = np.ones(2, bool)
    paths = ("a\u2028b\x0c.jpg", "c d\x85.jpg")
    strange = dataset(SampleTable(paths, np.zeros(2, np.int64), ("a",), ~every, every, every))
    np.save(tmp_path / "mine.npy", VECTORS[:2])
    (tmp_path / "mine.txt").write_text("".join(f"{name}\r\n" for name in paths), encoding="utf-8-sig", newline="")
    assert read_whole(tmp_path / "mine.npy", strange).image.tolist() == [0, 1]


def test_names_may_lie_elsewhere(labelled, tmp_path):
    np.save(tmp_path / "alone.npy", VECTORS)
    (tmp_path / "list").write_text("\n".join(NAMES))  # without a last line feed
    found = read_whole(tmp_path / "alone.npy", labelled, names=tmp_path / "list")
    assert found.image.tolist() == [1, 2, 3, 4]
