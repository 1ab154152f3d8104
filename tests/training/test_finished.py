import hashlib
import json
import shutil
from pathlib import Path

import pytest

from retrieval_bench.bench.results import read_result
from retrieval_bench.training.finished import RunError, open_run


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A run in a folder of its own, to be changed."""
    folder = tmp_path / "results" / "runs" / "rmac" / "s0"
    shutil.copytree(finished("rmac"), folder, ignore=shutil.ignore_patterns("index"))
    return folder


def test_a_result_names_its_checkpoint_by_size_and_sha256(copy):
    file, stated = copy / "checkpoints" / "last.ckpt", read_result(copy / "result.json").checkpoint
    assert stated is not None
    assert (stated.file, stated.bytes) == ("checkpoints/last.ckpt", file.stat().st_size)
    assert stated.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert open_run(copy).checkpoint == stated


def test_a_run_is_found_by_its_folder_and_by_its_name(copy, tmp_path):
    assert open_run(Path("rmac/s0"), tmp_path / "results") == open_run(copy)
    with pytest.raises(RunError, match=r"there is no run rmac/s1, .*\(1 runs\); did you mean rmac/s0\?"):
        open_run(Path("rmac/s1"), tmp_path / "results")


def test_a_result_of_before_checkpoints_were_named_is_taken_as_it_is(copy):
    content = json.loads((copy / "result.json").read_text())
    del content["checkpoint"]
    (copy / "result.json").write_text(json.dumps(content))
    (copy / "checkpoints" / "last.ckpt").write_bytes(b"another")
    assert open_run(copy).checkpoint.bytes == len(b"another")


def test_an_unfinished_run_and_other_data_are_named(copy, tmp_path):
    with pytest.raises(RunError, match="is not what oxford5k/rmac/s0 was scored on"):
        _scored_on_something_else(copy).datamodule(_data(copy, tmp_path))
    (copy / "result.json").unlink()
    with pytest.raises(RunError, match="is not finished"):
        open_run(copy)


def _scored_on_something_else(copy: Path):
    content = json.loads((copy / "result.json").read_text())
    content["data"]["fingerprint"] = "0" * 12
    (copy / "result.json").write_text(json.dumps(content))
    return open_run(copy)


def _data(copy: Path, tmp_path: Path) -> Path:
    from retrieval_bench.datasets.miniature import synthesize

    synthesize("oxford5k", tmp_path / "data" / "miniature" / "oxford5k")
    return tmp_path / "data"


def test_the_data_of_another_project_are_refused(copy, tmp_path):
    content = json.loads((copy / "result.json").read_text())
    content["config"]["data"]["class_path"] = "elsewhere.ShoesDataModule"
    (copy / "result.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="scored on the data of ShoesDataModule, which is not one of this project's"):
        open_run(copy).datamodule(tmp_path)
