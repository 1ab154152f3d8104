from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_bench.bench.facts import DatasetFacts
from retrieval_bench.bench.formats import FORMATS
from retrieval_bench.bench.leaderboard import leaderboard
from retrieval_bench.bench.papers import read_papers
from retrieval_bench.bench.results import Cost, RunId, read_results
from retrieval_bench.bench.suite import read_suite

PAPERS = read_papers(Path(__file__).parents[2] / "results" / "papers")


@pytest.fixture
def page(store, facts):
    """The leaderboard of some results."""
    return lambda *results, suites=None: leaderboard(
        read_results(store(*results)), papers=PAPERS, suites=suites, facts=facts
    )


def _texts(table):
    heads = [column.head for column in table.columns]
    return [dict(zip(heads, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_settings_stand_side_by_side_with_mean_deviation_and_cost(page, make_result):
    cost = [
        Cost(parameters=14_977_344, bytes_per_image=2048, images_per_second=123.4, training_seconds=t) for t in (30, 90)
    ]
    (table,) = page(
        make_result(seed=0, metrics=(0.781, 0.9), cost=cost[0]),
        make_result(seed=1, metrics=(0.801, 0.9), cost=cost[1]),
        make_result(variant="baseline", seed=0, metrics=(0.6, 0.7)),
        make_result(variant="baseline", seed=1, metrics=(0.6, 0.7)),
    ).tables
    full, baseline = _texts(table)
    # Half the square of the difference of 2 points, 2; its root is 1.41.
    assert full == {
        "method": "abir",
        "R@1": "79.1 ± 1.4",
        "R@2": "90.0 ± 0.0",
        "R@1 in the paper": "78.1",
        "Δ": "+1.0",
        "parameters (M)": "15.0",
        "bytes/image": "2048",
        "ms/query": "—",
        "images/s": "123",
        "training": "1.0 min",
        "seeds": "2",
        "results": "",
    }
    assert (baseline["method"], baseline["R@1 in the paper"], baseline["Δ"]) == ("abir-baseline", "73.1", "−13.1")
    assert table.title == "Birds, zero-shot"


def test_fingerprints_are_never_mixed_in_one_column(page, make_result, protocol):
    part = protocol("cub", edition="partial-12345")
    found = page(make_result(), make_result(method="other", protocol=part))
    assert len(found.tables) == 2
    methods = {tuple(_text["method"] for _text in _texts(table)) for table in found.tables}
    assert methods == {("abir",), ("other",)}
    for table in found.tables:
        fingerprints = [
            p.fingerprint for p in (part, protocol("cub")) if any(p.fingerprint in line for line in table.about)
        ]
        assert len(fingerprints) == 1
    assert len({record["fingerprint"] for record in found.records}) == 2


def test_numbers_of_another_protocol_stand_beside_those_printed_for_it(store, make_result, protocol):
    way = protocol("cub", name="hashing", ties="expected", metrics=("map",), main_metric="map")
    run = RunId(suite="tiny", dataset="cub", method="adaptive_triplet", variant="full_cub_64", seed=0)
    results = read_results(store(replace(make_result(), run=run, protocol=way, metrics={"map": 0.7})))
    facts = DatasetFacts("Birds", protocol("cub"), (way,))
    for known, printed in ((facts, "68.2"), (DatasetFacts("Birds", protocol("cub")), None)):
        (table,) = leaderboard(results, papers=PAPERS, facts=lambda _, known=known: known).tables
        assert _texts(table)[0].get("mAP in the paper") == printed


@pytest.mark.parametrize(
    ("edition", "title", "words"),
    [
        ("partial-1", "Birds, zero-shot, a part of it", "A part of the data set"),
        ("miniature-1", "Birds, zero-shot, miniature", "A miniature"),
    ],
)
def test_a_table_on_less_than_the_data_set_says_so_in_its_title(page, make_result, protocol, edition, title, words):
    (table,) = page(make_result(protocol=protocol("cub", edition=edition))).tables
    assert table.title == title
    assert table.about[1].startswith(words)


def test_results_of_an_earlier_configuration_say_so(page, plan, make_result, suite_file):
    planned = {run.id.seed: run.config_hash for run in plan("datasets: [cub]\nmethods: [abir]\nseeds: [0, 1]\n")}
    assert planned[0] == planned[1]
    suite = read_suite(suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0, 1]\n"))
    (table,) = page(*(make_result(seed=s, config_hash=planned[s]) for s in (0, 1)), suites={"tiny": suite}).tables
    assert table.footnotes == []
    (table,) = page(*(make_result(seed=s) for s in (0, 1)), suites={"tiny": suite}).tables
    assert table.footnotes == ["made with an earlier configuration; retrieval-bench run tiny renews it"]
    mixed = page(make_result(seed=0), make_result(seed=1, config_hash=planned[1]), suites={"tiny": suite})
    assert "seed 0: made with an earlier configuration" in mixed.tables[0].footnotes[-1]


def test_every_record_has_the_fields_that_a_page_names(page, make_result):
    found = page(make_result())
    assert tuple(found.records[0]) == found.fields
    assert FORMATS["csv"](leaderboard({}, papers=PAPERS), Path()) == ",".join(found.fields) + "\n"


@pytest.mark.parametrize("change", [{"edition": "partial-1"}, {"name": "official"}, {"image_crop": "box"}])
def test_the_papers_number_stands_only_beside_the_published_way(page, make_result, protocol, change):
    (table,) = page(make_result(protocol=protocol("cub", **change))).tables
    assert "Δ" not in {column.head for column in table.columns}
    (table,) = page(make_result()).tables
    assert "Δ" in {column.head for column in table.columns}


def test_a_missing_seed_shows_as_missing_with_its_footnote(page, make_result):
    (table,) = page(make_result(seed=0), make_result(seed=1), make_result(variant="no_se", seed=1)).tables
    row = _texts(table)[1]
    assert (row["method"], row["R@1"], row["training"], row["seeds"]) == ("abir-no_se", "—", "—", "1 of 2")
    assert table.footnotes == ["1 of 2 seeds; missing: 0 (seed 1: R@1 50.0)"]
    assert table.marks(table.rows[1][0]) == [1]


def test_notes_of_results_become_footnotes_said_once(page, make_result):
    notes = ("other trunk", "fewer iterations")
    (table,) = page(
        make_result(notes=notes),
        make_result(seed=1, notes=notes),
        make_result(method="x", seed=0, notes=notes[1:]),
        make_result(method="x", seed=1),
    ).tables
    assert table.footnotes == ["other trunk", "fewer iterations"]
    marks = {row[0].text: table.marks(row[0]) for row in table.rows}
    assert marks == {"abir": [1, 2], "x": [2]}


def test_before_and_best_on_test_are_columns_of_their_own(page, make_result):
    (table,) = page(make_result(before={"recall_at_1": 0.123}, best={"recall_at_1": 0.7})).tables
    (row,) = _texts(table)
    assert (row["R@1"], row["R@1 before"], row["R@1 best on test"]) == ("50.0", "12.3", "70.0")
    assert "the best evaluation on the test set during training; never the result" in table.footnotes


def test_every_row_leads_to_its_files(page, make_result, store):
    (table,) = page(make_result(), make_result(seed=1)).tables
    links = dict(table.rows[0][-1].links)
    folder = store() / "runs/tiny/cub/abir"
    assert links == {"s0": folder / "s0/result.json", "s1": folder / "s1/result.json"}


def test_machine_and_code_are_named(page, make_result):
    (table,) = page(make_result()).tables
    assert table.remarks == ("Made on a processor, 2 cores; retrieval_bench 0.1.0 (ffffffffffff), torch 2.14.",)


def test_two_suites_in_one_table_are_told_apart(page, make_result):
    (table,) = page(make_result(), make_result(suite="other", metrics=(0.4, 0.5))).tables
    assert [(row["suite"], row["R@1"]) for row in _texts(table)] == [("tiny", "50.0"), ("other", "40.0")]


def test_records_hold_what_tables_round(page, make_result):
    record = page(make_result(metrics=(0.78125, 0.9))).records[0]
    assert (record["metric"], record["mean"], record["std"], record["paper"]) == ("recall_at_1", 0.78125, None, 0.781)
    assert record["difference"] == pytest.approx(0.00025)


def test_without_results_the_page_says_so(page):
    assert page().about == ("There are no results yet.",)
