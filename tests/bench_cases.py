"""Hand-built results, and a config stack small enough to read."""

from pathlib import Path

import pytest

from retrieval_bench.bench.facts import DatasetFacts
from retrieval_bench.bench.plan import expand
from retrieval_bench.bench.results import Code, Cost, Data, Result, RunId, write_result
from retrieval_bench.bench.suite import read_suite
from retrieval_bench.retrieval.protocol import Protocol

METRICS = ("recall_at_1", "recall_at_2")


def _protocol(dataset="cub", **changes):
    facts = {"name": "zero-shot", "metrics": METRICS, "main_metric": "recall_at_1"}
    return Protocol(dataset=dataset, **{**facts, **changes})


@pytest.fixture
def protocol():
    """A protocol of a data set, with changes."""
    return _protocol


@pytest.fixture
def facts():
    """Facts of two data sets, measured zero-shot; no others are known."""
    titles = {"cub": "Birds", "sop": "Products"}
    return lambda name: DatasetFacts(titles[name], _protocol(name)) if name in titles else None


@pytest.fixture
def make_result():
    """A whole result from the few facts a test is about."""

    def make(
        *,
        suite="tiny",
        dataset="cub",
        method="abir",
        variant=None,
        seed=0,
        metrics=(0.5, 0.6),
        protocol=None,
        **changes,
    ):
        content = {
            "run": RunId(suite=suite, dataset=dataset, method=method, variant=variant, seed=seed),
            "protocol": protocol or _protocol(dataset),
            "metrics": dict(zip(METRICS, metrics, strict=False)),
            "per_query": "per_query.npz",
            "config": {"trainer": {"max_steps": 3}, "list": [1, None, "x"]},
            "config_hash": "0123456789abcdef",
            "data": Data(fingerprint="abc", edition="original", counts={"train": {"images": 3}}),
            "code": Code(version="0.1.0", commit="f" * 40, dirty=False),
            "packages": {"torch": "2.14"},
            "hardware": {"processor": "a processor", "cores": 2, "accelerators": []},
            "cost": Cost(bytes_per_image=2048, ms_per_query=0.25, training_seconds=90.0),
            "finished": "2026-01-02T03:04:05+00:00",
        }
        return Result(**{**content, **changes})

    return make


@pytest.fixture
def store(tmp_path):
    """Writes results where the runner would; returns the folder of results."""

    def write(*results):
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        for result in results:
            write_result(folder / "runs" / result.run.suite / result.run.name / "result.json", result)
        return folder

    return write


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def stack(tmp_path):
    """A folder with a config stack of two data sets and one method with one variant."""
    folder = tmp_path / "benchmarks"
    _write(folder / "trainer.yaml", "trainer: {max_steps: 10, devices: 1}\n")
    _write(folder / "datasets" / "cub.yaml", "data: {class_path: Cub}\n")
    _write(folder / "datasets" / "sop.yaml", "data: {class_path: Sop}\n")
    _write(folder / "methods" / "abir.yaml", "model: {class_path: ABIR, init_args: {se: true}}\n")
    _write(folder / "methods" / "abir" / "no_se.yaml", "model: {init_args: {se: false}}\n")
    return folder


@pytest.fixture
def suite_file(stack):
    """Writes a suite file into the stack; returns its path."""
    return lambda text, name="tiny": _write(stack / "suites" / f"{name}.yaml", text)


@pytest.fixture
def plan(tmp_path, suite_file):
    """The runs of a suite given as text."""

    def make(text):
        return expand(read_suite(suite_file(text)), output=tmp_path / "results", data_dir=tmp_path / "data")

    return make
