"""The file of saliency boxes: written piece by piece, whole or not there, read in the order of a table."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.saliency_boxes import BoxWriter, PictureBox, pictures_fingerprint, read_boxes

SETTINGS = {"dataset": "cub", "alpha": 0.4}
BOXES = [PictureBox(f"images/{i}.jpg", (i, 0, 10 + i, 5), (20, 10)) for i in range(5)]


def dataset(*paths: str):
    """As much of a data set as is read."""
    return SimpleNamespace(name="cub", root=Path("data/cub"), table=SimpleNamespace(path=paths))


def write(file: Path, boxes=BOXES, settings=SETTINGS) -> Path:
    with BoxWriter(file, settings, len(boxes)) as writer:
        writer.append(boxes)
    return file


@pytest.fixture
def file(tmp_path) -> Path:
    return write(tmp_path / "saliency" / "cub.jsonl")


def test_boxes_are_read_in_the_order_of_the_table_and_as_often_as_it_asks(file):
    found = read_boxes(file, dataset("images/3.jpg", "images/0.jpg", "images/3.jpg"))
    assert found.box.tolist() == [[3, 0, 13, 5], [0, 0, 10, 5], [3, 0, 13, 5]]
    assert found.size.tolist() == [[20, 10]] * 3


def test_the_file_is_a_header_of_settings_and_a_line_a_picture(file):
    header, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert header == {"format": "saliency boxes 1", **SETTINGS, "pictures": 5}
    assert lines[1] == {"path": "images/1.jpg", "box": [1, 0, 11, 5], "size": [20, 10]}
    assert [f.name for f in file.parent.iterdir()] == ["cub.jsonl"]


def test_a_picture_without_a_box_is_named_with_the_file_and_the_command(file):
    wanted = dataset("images/1.jpg", "images/new.jpg", "images/newer.jpg")
    with pytest.raises(
        DataError, match=r"cub\.jsonl has no box of images/new\.jpg and 1 more: it was made of other pictures"
    ) as caught:
        read_boxes(file, wanted)
    assert "`retrieval-bench saliency cub --root data/cub --output" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(DataError, match=r"no file of saliency boxes at .*lost\.jsonl; make it with `retrieval-bench"):
        read_boxes(tmp_path / "lost.jsonl", dataset())


def test_a_file_cut_short_is_refused(file):
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="should hold 5 pictures and holds 4; delete it"):
        read_boxes(file, dataset())


@pytest.mark.parametrize("content", ["", "no json\n", '{"format": "another"}\n', "[]\n"])
def test_a_file_of_something_else_is_refused_by_reader_and_writer(tmp_path, content):
    file = tmp_path / "cub.jsonl"
    file.write_text(content)
    for use in (lambda: read_boxes(file, dataset()), lambda: write(file)):
        with pytest.raises(DataError, match=r"cub\.jsonl is no file of saliency boxes"):
            use()
    assert file.read_text() == content


@pytest.mark.parametrize("line", ["{", '{"path": "a"}', '{"path": "a", "box": [1, 2, 3], "size": [1, 2]}', "7"])
def test_a_damaged_line_is_named(file, line):
    lines = file.read_text().splitlines()
    lines[3] = line
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"line 4 of .*cub\.jsonl is no box of a picture"):
        read_boxes(file, dataset())


def test_nothing_but_a_part_is_there_until_every_picture_is(tmp_path):
    file = tmp_path / "cub.jsonl"
    with BoxWriter(file, SETTINGS, 5) as writer:
        writer.append(BOXES[:4])
        assert not file.exists()
        # Another process would find them there already: they survive the death of this one.
        assert len((tmp_path / "cub.jsonl.part").read_text().splitlines()) == 5
        writer.append(BOXES[4:])
        assert file.exists()


@pytest.mark.parametrize("cut", range(0, 560, 23))
def test_a_part_cut_anywhere_is_gone_on_with_to_the_same_bytes(file, tmp_path, cut):
    content = file.read_bytes()
    other = tmp_path / "again.jsonl"
    part = tmp_path / "again.jsonl.part"
    part.write_bytes(content[:cut])
    with BoxWriter(other, SETTINGS, 5) as writer:
        assert writer.count == max(0, content[:cut].count(b"\n") - 1)
        assert writer.complete == (writer.count == 5)
        if not writer.complete:
            writer.append(BOXES[writer.count :])
    assert other.read_bytes() == content
    assert not part.exists()


def test_a_file_that_is_there_is_complete_and_left_alone(file):
    before = file.stat().st_mtime_ns
    with BoxWriter(file, SETTINGS, 5) as writer:
        assert writer.complete
        assert writer.count == 5
    assert file.stat().st_mtime_ns == before
    assert [f.name for f in file.parent.iterdir()] == ["cub.jsonl"]


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name_and_nothing_is_lost(tmp_path, finished):
    file = tmp_path / "cub.jsonl"
    with BoxWriter(file, SETTINGS, 5) as writer:
        writer.append(BOXES if finished else BOXES[:2])
    there = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(DataError, match=r"cub\.jsonl(\.part)? was made with alpha 0\.4 instead of 0\.5; delete it or"):
        BoxWriter(file, {**SETTINGS, "alpha": 0.5}, 5)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == there


def test_a_file_is_written_by_one_process_at_a_time(tmp_path):
    file = tmp_path / "cub.jsonl"
    script = (
        "import sys; from pathlib import Path\n"
        "from retrieval_bench.datasets.saliency_boxes import BoxWriter, PictureBox\n"
        f"with BoxWriter(Path(sys.argv[1]), {SETTINGS!r}, 5) as writer:\n"
        f"    writer.append([{BOXES[0]!r}])\n"
        "    print('ready', flush=True)\n"
        "    input()\n"
    )
    words = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(DataError, match=r"another process is writing .*cub\.jsonl"):
            BoxWriter(file, SETTINGS, 5)
        other.communicate("go on\n", timeout=60)
    with BoxWriter(file, SETTINGS, 5) as writer:
        assert writer.count == 1


def test_the_fingerprint_follows_names_and_lengths_of_pictures(tmp_path):
    for name, content in (("a.jpg", b"1"), ("b.jpg", b"22"), ("c.jpg", b"1")):
        (tmp_path / name).write_bytes(content)
    first = pictures_fingerprint(tmp_path, ["a.jpg", "b.jpg"])
    assert first == pictures_fingerprint(tmp_path, ["a.jpg", "b.jpg"])
    assert len({first, pictures_fingerprint(tmp_path, ["c.jpg", "b.jpg"])}) == 2
    (tmp_path / "a.jpg").write_bytes(b"333")
    assert first != pictures_fingerprint(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"lost\.jpg"):
        pictures_fingerprint(tmp_path, ["lost.jpg"])
