"""The leaderboard marks the best setting, and what cannot be told from it."""

import io
from pathlib import Path

import numpy as np
import pytest
from paired_cases import store_queries  # noqa: F401
from rich.console import Console

from retrieval_bench.bench.formats import FORMATS
from retrieval_bench.bench.leaderboard import leaderboard
from retrieval_bench.bench.noise import NOISE
from retrieval_bench.bench.results import Data, read_results
from retrieval_bench.bench.terminal import show

QUERIES = 60
BEST = np.full((2, QUERIES), 1.0)
NEAR = np.where(np.arange(QUERIES) < 1, 0.0, BEST)  # one query fewer
FAR = np.where(np.arange(QUERIES) < 30, 0.0, BEST)


@pytest.fixture
def page(tmp_path, facts):
    """The leaderboard of all that was stored."""
    return lambda: leaderboard(read_results(tmp_path / "results"), papers={}, facts=facts)


@pytest.fixture
def three(store_queries):  # noqa: F811
    """A best setting, one within noise of it and one far below."""
    return [store_queries(v, method=name) for name, v in (("best", BEST), ("near", NEAR), ("far", FAR))]


def marks(page):
    (table,) = page.tables
    place = [column.key for column in table.columns].index("recall_at_1")
    return {row[0].text: (row[place].strong, NOISE in row[place].notes) for row in table.rows}


@pytest.mark.usefixtures("three")
def test_the_best_is_bold_and_what_is_within_noise_of_it_is_marked(page):
    assert marks(page()) == {"best": (True, False), "near": (False, True), "far": (False, False)}
    (table,) = page().tables
    assert table.footnotes == [NOISE]
    assert "1,000 resamples" in NOISE
    records = {(r["method"], r["metric"]): r["against_best"] for r in page().records}
    assert records == {
        ("best", "recall_at_1"): "best",
        ("near", "recall_at_1"): "noise",
        ("far", "recall_at_1"): "worse",
        **{(name, "recall_at_2"): None for name in ("best", "near", "far")},
    }


@pytest.mark.usefixtures("three")
def test_every_format_shows_the_marks(page):
    found = page()
    written = {kind: write(found, Path()) for kind, write in FORMATS.items()}
    assert "| **100.0 ± 0.0** |" in written["md"]
    assert "98.3 ± 0.0 ¹ |" in written["md"]
    assert r"\textbf{100.0 $\pm$ 0.0}" in written["tex"]
    assert r"98.3 $\pm$ 0.0\textsuperscript{1}" in written["tex"]
    assert "<strong>100.0 ± 0.0</strong>" in written["html"]
    assert '98.3 ± 0.0<sup><a href="#t1-1">1</a></sup>' in written["html"]
    assert ",near,,recall_at_1,0.9833333333,0,noise," in written["csv"]
    console = Console(width=200, record=True, force_terminal=True, file=io.StringIO())
    show(found, console)
    styled = console.export_text(styles=True)
    assert "\x1b[1m100.0 ± 0.0" in styled
    assert "98.3 ± 0.0 ¹" in styled
    for kind in ("md", "html"):
        assert written[kind].count("within noise of the best") == 1


def test_without_the_values_of_queries_there_is_no_mark_and_no_error(page, three):
    for file in three[1]:
        file.with_name("per_query.npz").unlink()
    assert marks(page()) == {"best": (True, False), "near": (False, False), "far": (False, False)}
    three[0][0].with_name("per_query.npz").unlink()
    assert marks(page()) == {"best": (True, False), "near": (False, False), "far": (False, False)}
    assert {r["against_best"] for r in page().records} == {"best", None}


def test_other_queries_are_not_compared(page, store_queries, three):  # noqa: F811
    del three
    store_queries(NEAR, method="near", query=np.arange(QUERIES) + 7)
    assert marks(page())["near"] == (False, False)


def test_other_data_are_not_compared(page, store_queries, three):  # noqa: F811
    del three
    store_queries(NEAR, method="near", data=Data(fingerprint="xyz", edition="original", counts={}))
    assert marks(page())["near"] == (False, False)


def test_settings_that_share_no_query_with_a_value_are_not_compared(page, store_queries):  # noqa: F811
    first = np.arange(QUERIES) < 30
    store_queries(np.where(first, BEST, np.nan), method="best")
    store_queries(np.where(first, np.nan, 0.5 * BEST), method="other")
    assert marks(page()) == {"best": (True, False), "other": (False, False)}


def test_a_setting_alone_is_better_than_nothing(page, store_queries):  # noqa: F811
    store_queries(BEST)
    assert marks(page()) == {"abir": (False, False)}


def test_a_setting_that_lacks_a_seed_has_no_standing(page, store_queries, three):  # noqa: F811
    del three
    store_queries(BEST[:1], method="short")
    assert marks(page())["short"] == (False, False)


def test_best_on_test_is_flagged_in_every_format(page, store_queries):  # noqa: F811
    store_queries(FAR, best={"recall_at_1": 0.875})
    found = page()
    flag = "the best evaluation on the test set during training; never the result"
    for kind in ("md", "tex", "html"):
        written = FORMATS[kind](found, Path())
        assert "R@1 best on test" in written
        assert "87.5" in written
        assert flag in written
    (row,) = [r for r in found.records if r["metric"] == "recall_at_1"]
    assert (row["mean"], row["best_on_test"]) == (0.5, 0.875)
    console = Console(width=200, record=True, file=io.StringIO())
    show(found, console)
    assert flag in console.export_text()


def test_guests_are_flagged_and_no_paper_speaks_of_them(page, store_queries):  # noqa: F811
    store_queries(BEST[:1], suite="guests", notes=("scored here, made elsewhere",))
    found = page()
    (table,) = found.tables
    assert table.rows[0][0].text == "abir (guest)"
    assert table.footnotes == ["scored here, made elsewhere"]
    assert table.remarks == ()  # nobody knows what they were made on
    assert [r["suite"] for r in found.records] == ["guests", "guests"]
