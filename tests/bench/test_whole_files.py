import os

from retrieval_bench.bench import files
from retrieval_bench.bench.files import write_whole


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
