import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.cli import main
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.training import indexing
from retrieval_bench.training.describing import Describer
from retrieval_bench.training.finished import open_run
from retrieval_bench.training.index_store import PictureIndexError, open_index
from retrieval_bench.training.index_writer import IndexWriter
from retrieval_bench.training.indexing import build_index, folder_gallery


@pytest.fixture(scope="module")
def run(finished) -> Path:
    return finished("rmac")


@pytest.fixture(scope="module")
def describer(run) -> Describer:
    return Describer(open_run(run))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven pictures of three shapes in two levels of folders."""
    chance = np.random.default_rng(0)
    for i in range(7):
        file = tmp_path / "pictures" / ("deep/er" if i % 2 else ".") / f"{i}.{('png', 'JPG')[i % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = chance.integers(0, 256, ((96, 128), (64, 64), (128, 96))[i % 3] + (3,), dtype=np.uint8)
        Image.fromarray(pixels).save(file, format="PNG")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(indexing, "_AT_ONCE", 2)


def build(describer: Describer, folder: Path, to: Path) -> indexing.Built:
    return build_index(describer, folder_gallery(describer, folder, 0), to)


def counted(monkeypatch, describer: Describer) -> list[int]:
    """How many pictures each call describes from now on."""
    numbers: list[int] = []
    describe = describer.describe

    def count(data, rows):
        numbers.append(len(rows))
        return describe(data, rows)

    monkeypatch.setattr(describer, "describe", count)
    return numbers


def test_pictures_are_found_at_any_depth_in_the_order_of_their_paths(describer, folder, tmp_path, few):
    assert build(describer, folder, tmp_path / "index") == indexing.Built(7, 7, 0, {})
    index = open_index(tmp_path / "index", describer.maker)
    paths = ["0.png", "2.png", "4.png", "6.png", "deep/er/1.JPG", "deep/er/3.JPG", "deep/er/5.JPG"]
    assert [listed.path for listed in index.listed] == paths
    assert index.descriptors.image.tolist() == list(range(7))
    assert sorted(x.name for x in (tmp_path / "index").iterdir()) == [
        *("data-1.npy", "image-1.npy", "index.json", "lock", "pictures-1.json")
    ]


def test_shards_of_any_size_make_the_same_index(describer, folder, tmp_path, monkeypatch):
    build(describer, folder, tmp_path / "one")
    monkeypatch.setattr(indexing, "_AT_ONCE", 3)
    build(describer, folder, tmp_path / "other")
    one, other = (open_index(tmp_path / name, describer.maker) for name in ("one", "other"))
    assert one.listed == other.listed
    torch.testing.assert_close(one.descriptors.data, other.descriptors.data, rtol=1e-5, atol=1e-6)


def test_only_what_is_new_or_changed_is_described_and_what_is_gone_is_forgotten(
    describer, folder, tmp_path, few, monkeypatch
):
    build(describer, folder, tmp_path / "index")
    before = open_index(tmp_path / "index", describer.maker)
    numbers = counted(monkeypatch, describer)
    assert build(describer, folder, tmp_path / "index") == indexing.Built(7, 0, 0, {})
    assert numbers == []
    (folder / "2.png").unlink()
    shutil.copy(folder / "0.png", folder / "3.png")
    Image.new("RGB", (70, 50), "red").save(folder / "6.png")
    assert build(describer, folder, tmp_path / "index") == indexing.Built(7, 2, 2, {})
    assert numbers == [2]
    after = open_index(tmp_path / "index", describer.maker)
    vector = {listed.path: after.descriptors.data[i] for i, listed in enumerate(after.listed)}
    old = {listed.path: before.descriptors.data[i] for i, listed in enumerate(before.listed)}
    assert list(vector) == ["0.png", "3.png", "4.png", "6.png", "deep/er/1.JPG", "deep/er/3.JPG", "deep/er/5.JPG"]
    assert torch.equal(vector["deep/er/5.JPG"], old["deep/er/5.JPG"])
    torch.testing.assert_close(vector["3.png"], old["0.png"], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(vector["6.png"], old["6.png"], atol=1e-3)
    assert {x.name for x in (tmp_path / "index").glob("*.npy")} == {"data-2.npy", "image-2.npy"}


@pytest.mark.parametrize("dies_in", ["describe", "finish"])
def test_what_was_cut_short_is_gone_on_with(describer, folder, tmp_path, few, monkeypatch, dies_in):
    class PulledPlug(BaseException):
        pass

    with monkeypatch.context() as patch:
        if dies_in == "describe":
            calls = iter(range(9))
            describe = describer.describe

            def fail_third(data, rows):
                if next(calls) == 2:
                    raise PulledPlug
                return describe(data, rows)

            patch.setattr(describer, "describe", fail_third)
        else:
            write = IndexWriter._write

            def fail_at_the_end(writer, head):
                if head.generation:
                    raise PulledPlug
                write(writer, head)

            patch.setattr(IndexWriter, "_write", fail_at_the_end)
        with pytest.raises(PulledPlug):
            build(describer, folder, tmp_path / "index")
    with pytest.raises(PictureIndexError, match="is not finished: go on with the command"):
        open_index(tmp_path / "index", describer.maker)
    numbers = counted(monkeypatch, describer)
    assert build(describer, folder, tmp_path / "index").pictures == 7
    assert sum(numbers) == {"describe": 3, "finish": 0}[dies_in]
    build(describer, folder, tmp_path / "whole")
    cut, whole = (open_index(tmp_path / name, describer.maker) for name in ("index", "whole"))
    assert cut.listed == whole.listed
    assert torch.equal(cut.descriptors.data, whole.descriptors.data)
    assert not (tmp_path / "index" / "shards").exists()


def test_unreadable_pictures_are_skipped_named_and_counted(describer, folder, tmp_path, few, capsys, run):
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:400])
    (folder / "deep" / "empty.jpg").touch()
    built = build(describer, folder, tmp_path / "index")
    assert (built.pictures, built.described) == (6, 6)
    assert sorted(built.skipped) == ["2.png", "deep/empty.jpg"]
    assert built.skipped["deep/empty.jpg"] == "the file is empty"
    assert json.loads((tmp_path / "index" / "index.json").read_text())["skipped"] == built.skipped
    words = ["index", "build", "--run", str(run), "--to", str(tmp_path / "index"), "--workers", "0", str(folder)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "skipped 'deep/empty.jpg': the file is empty" in printed
    assert "6 pictures, 0 described now, 0 forgotten, 2 skipped" in printed
    for file in folder.rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(PictureIndexError, match=r"none of the 8 pictures in .* can be read"):
        build(describer, folder, tmp_path / "other")


def test_another_network_neither_searches_an_index_nor_adds_to_it(describer, folder, tmp_path):
    build(describer, folder, tmp_path / "index")
    facts = json.loads((tmp_path / "index" / "index.json").read_text())["made_by"]
    assert facts["run"] == "try/oxford5k/rmac/s0"
    assert facts["checkpoint"] == describer.run.checkpoint.sha256
    assert facts["preprocessing"]["resize"]["side"] == 128
    assert facts["packages"]["torch"] == torch.__version__.partition("+")[0]
    other = replace(describer.maker, checkpoint="0" * 64)
    with pytest.raises(PictureIndexError, match="was made by another network: try/oxford5k/rmac/s0"):
        open_index(tmp_path / "index", other)
    with (
        pytest.raises(PictureIndexError, match="was made by another network"),
        IndexWriter(tmp_path / "index", other, folder),
    ):
        pass


def test_one_writer_at_a_time_and_one_folder(describer, folder, tmp_path):
    busy = pytest.raises(PictureIndexError, match="another process is writing")
    with IndexWriter(tmp_path / "index", describer.maker, folder), busy:
        build(describer, folder, tmp_path / "index")
    with pytest.raises(PictureIndexError, match="is of the pictures in"):
        build(describer, folder / "deep", tmp_path / "index")


def test_a_damaged_index_and_an_empty_folder_are_named(describer, folder, tmp_path):
    build(describer, folder, tmp_path / "index")
    os.truncate(tmp_path / "index" / "data-1.npy", 200)
    with pytest.raises(PictureIndexError, match="is damaged"):
        open_index(tmp_path / "index", describer.maker)
    (tmp_path / "none").mkdir()
    with pytest.raises(PictureIndexError, match="there is no picture in"):
        build(describer, tmp_path / "none", tmp_path / "other")
    with pytest.raises(PictureIndexError, match="there is no folder"):
        build(describer, tmp_path / "nowhere", tmp_path / "other")


def test_opening_maps_files_into_memory(describer, folder, tmp_path):
    build(describer, folder, tmp_path / "index")
    maps = Path("/proc/self/maps")
    index = open_index(tmp_path / "index", describer.maker)
    assert len(index.descriptors) == 7
    if maps.is_file():
        assert str(tmp_path / "index" / "data-1.npy") in maps.read_text()


def test_a_folder_with_other_things_is_left_alone(describer, folder, tmp_path):
    target = tmp_path / "mine"
    (target / "shards").mkdir(parents=True)
    for name in ("my-vectors.npy", "pictures-of-cats.json", "shards/first"):
        (target / name).write_text("precious")
    with pytest.raises(PictureIndexError, match=r"holds other things than an index .*: name a new or empty folder"):
        build(describer, folder, target)
    assert sorted(x.name for x in target.rglob("*") if x.is_file() and x.read_text() == "precious") == [
        *("first", "my-vectors.npy", "pictures-of-cats.json")
    ]


def test_a_damaged_index_or_shard_is_named_when_it_is_gone_on_with(describer, folder, tmp_path, few):
    build(describer, folder, tmp_path / "index")
    (tmp_path / "index" / "data-1.npy").unlink()
    with pytest.raises(PictureIndexError, match=r"is damaged .*delete it and build it anew"):
        build(describer, folder, tmp_path / "index")
    gallery = folder_gallery(describer, folder, 0)
    with IndexWriter(tmp_path / "other", describer.maker, folder) as writer:
        writer.add(gallery.listed[:1], describer.describe(gallery.data, np.arange(1))[1])
    os.truncate(tmp_path / "other" / "shards" / "000000.npz", 50)
    with pytest.raises(PictureIndexError, match=r"000000.npz is damaged .*go on with the same command"):
        build(describer, folder, tmp_path / "other")


def test_a_worker_that_cannot_read_a_picture_says_so_in_a_line(describer, folder):
    file = folder / "2.png"
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(UnreadableImageError, match="it is cut short") as caught:
        describer.describe(folder_gallery(describer, folder, 1).data, np.array([1]))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_run_that_cannot_keep_its_own_index_says_what_to_do(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("index"))
    (copy / "index").write_text("in the way")
    assert main(["index", "build", "--run", str(copy), "--data-dir", str(run.parents[5] / "data")]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "index: File exists; copy the run to where there is room and you may write, or index the" in message
    assert "--to DIR" in message
