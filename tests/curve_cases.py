"""Results as settings, a paper beside them, and where their curves lie, for the tests of charts and of sweeps."""

from pathlib import Path

import pytest

from retrieval_bench.bench.papers import Paper, PaperColumn, PaperInfo, PaperRow, PaperTable
from retrieval_bench.bench.settings import Setting
from retrieval_bench.bench.summary import boards


@pytest.fixture
def result(make_result):
    """A result whose config says what its variant does."""

    def make(variant, value, seed=0, *, config_hash=None, **options):
        model = {"bits": 64, "loss": {"class_path": "Adaptive", "init_args": {"margin": 0.5}}} | options
        config = {
            "seed_everything": seed,
            "trainer": {"run_dir": f"runs/{variant}/s{seed}", "postprocessing": [{"class_path": "QE", "top": 5}]},
            "model": {"class_path": "ABIR", "init_args": model},
        }
        name = config_hash or str(variant)
        return make_result(variant=variant, seed=seed, metrics=(value, 0.9), config=config, config_hash=name)

    return make


@pytest.fixture
def papers():
    """A paper that prints 68.2 for abir/a_16 and nothing for a_64."""
    column = PaperColumn(id="r1", metric="recall_at_k", k=1, dataset="cub")
    rows = [
        PaperRow(label=name, role="own", config=f"abir/{name}", values={"r1": value})
        for name, value in (("a_16", 68.2), ("a_64", None))
    ]
    table = PaperTable(
        id="T1", about="", unit="percent", higher_is_better=True, ocr="clean", columns=[column], rows=rows
    )
    info = PaperInfo(key="abir", title="", authors="", venue="", year=2020)
    return {"abir": Paper(schema_version=1, paper=info, tables=[table])}


def settings_of(*results):
    """Results as the settings of a table."""
    stored = {Path(f"{i}/result.json"): one for i, one in enumerate(results)}
    return [Setting.of(board.protocol, row) for board in boards(stored) for row in board.rows]


def values_of(curve):
    """Where a curve's points lie, in percent."""
    return [(p.x, p.value and round(p.value.mean, 6)) for p in curve.points]
