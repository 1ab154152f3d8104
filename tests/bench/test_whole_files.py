import os

import numpy as np
import pytest

from retrieval_bench.bench import files
from retrieval_bench.bench.files import write_arrays, write_whole


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path, monkeypatch):
    target, sync = tmp_path / "board.md", os.fsync

    def meanwhile(descriptor):
        monkeypatch.setattr(files.os, "fsync", sync)
        write_whole(target, "the other's")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", meanwhile)
    write_whole(target, "mine")
    assert target.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["board.md"]


def test_what_cannot_be_written_leaves_the_earlier_file_and_nothing_beside_it(tmp_path, monkeypatch):
    text, arrays = tmp_path / "board.md", tmp_path / "values.npz"
    write_whole(text, "before")
    write_arrays(arrays, {"x": np.arange(3)})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    for write in (lambda: write_whole(text, "after"), lambda: write_arrays(arrays, {"x": np.zeros(9)})):
        with pytest.raises(OSError, match="No space"):
            write()
    assert text.read_text() == "before"
    with np.load(arrays) as file:
        assert file["x"].tolist() == [0, 1, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["board.md", "values.npz"]
