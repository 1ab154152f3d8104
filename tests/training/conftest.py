"""Runs' folders, for tests that train."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from finished_runs import finish_run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning writes into the working folder where it is told no other."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder as the runner leaves it before it starts a run."""

    def make(name: str = "run", **facts: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        identity = {"suite": "test", "dataset": "cub", "method": "abir", "variant": None, "seed": 0, "config_hash": "0"}
        (folder / "run.json").write_text(json.dumps({**identity, **facts}))
        return folder

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The finished run of a kind, made when it is asked for first; nothing but its index may be added to it."""
    return cache(lambda kind: finish_run(kind, tmp_path_factory.mktemp(kind)))
