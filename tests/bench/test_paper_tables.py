from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_bench.bench.facts import DatasetFacts
from retrieval_bench.bench.paper_tables import paper_page
from retrieval_bench.bench.papers import read_papers
from retrieval_bench.bench.results import RunId, read_results

PAPERS = read_papers(Path(__file__).parents[2] / "results" / "papers")


@pytest.fixture
def page(store, facts):
    """A paper's page with some results in it."""
    return lambda key, *results: paper_page(PAPERS[key], read_results(store(*results)), facts=facts)


def _table(page, title="Table 1"):
    table = next(t for t in page.tables if t.title == title)
    return table, [[cell.text for cell in row] for row in table.rows]


def test_the_printed_rows_and_columns_come_back_in_their_order(page):
    for key, paper in PAPERS.items():
        made = page(key)
        assert len(made.tables) == len(paper.tables)
        for table, printed in zip(made.tables, paper.tables, strict=True):
            labels = [row[0].text for row in table.rows if not row[0].text.startswith("↳")]
            assert labels == [row.label for row in printed.rows]
            heads = [column.head for column in table.columns]
            assert len(set(heads)) == len(heads)
            extra = len(heads) - 1 - len(printed.columns)
            shown = [[cell.text for cell in row[1 + extra :]] for row in table.rows if not row[0].text.startswith("↳")]
            expected = [
                ["—" if row.values[c.id] is None else f"{row.values[c.id]:.{printed.places}f}" for c in printed.columns]
                for row in printed.rows
            ]
            assert shown == expected


def test_ours_stands_below_theirs_with_the_difference(page, make_result):
    results = [make_result(seed=s, metrics=(v, 0.85)) for s, v in enumerate((0.75, 0.76, 0.80))]
    table, rows = _table(page("abir", *results))
    heads = [column.head for column in table.columns]
    at = next(i for i, row in enumerate(rows) if row[0] == "ABIR with SE-block")
    assert heads[1:3] == ["cub R@1", "cub R@2"]
    assert rows[at][1:3] == ["78.1", "84.6"]
    # Mean 77.0; deviations -2, -1, 3 in points, squares 14, halved 7, root 2.6.
    assert rows[at + 1][:3] == ["↳ ours", "77.0 ± 2.6", "85.0 ± 0.0"]
    assert rows[at + 2][:3] == ["↳ difference", "−1.1", "+0.4"]
    assert set(rows[at + 1][3:]) == {"—"}
    assert [text for text, _ in table.rows[at + 1][0].links] == ["tiny s0", "tiny s1", "tiny s2"]
    assert "suite tiny, 3 seeds" in table.footnotes


def test_without_results_ours_is_missing_and_there_is_no_difference(page):
    _, rows = _table(page("abir"))
    ours = [row for row in rows if row[0].startswith("↳")]
    assert len(ours) == 3
    assert {cell for row in ours for cell in row[1:]} == {"—"}
    assert rows[0] == [
        "margin [22]",
        "63.9",
        "75.3",
        "84.4",
        "90.6",
        "94.8",
        "—",
        "86.9",
        "92.7",
        "95.6",
        "97.6",
        "98.7",
        "—",
    ]


@pytest.mark.parametrize("change", [{"edition": "partial-1"}, {"name": "official"}, {"self_match": "keep"}])
def test_only_the_published_way_of_measuring_enters(page, make_result, protocol, change):
    _, rows = _table(page("abir", make_result(protocol=protocol("cub", **change))))
    assert {cell for row in rows if row[0].startswith("↳") for cell in row[1:]} == {"—"}


@pytest.mark.parametrize(
    ("crop", "label", "difference"), [("i", "Ours, crop I", "−1.3"), ("x", "Ours, crop X", "−4.8")]
)
def test_each_row_takes_results_of_its_own_protocol_alone(make_result, protocol, crop, label, difference):
    names = ("map_oxford",)
    ways = {
        way: protocol("oxford5k", name=f"crop-{way}", query_crop=query_crop, metrics=names, main_metric=names[0])
        for way, query_crop in (("i", "image"), ("x", "activations"))
    }
    facts = DatasetFacts("Oxford", ways["i"], (ways["x"],))
    run = RunId(suite="tiny", dataset="oxford5k", method="cluster_mac", variant=f"vgg_crop{crop.upper()}", seed=0)
    for measured, shown in ways.items():
        ours = replace(make_result(), run=run, protocol=shown, metrics={"map_oxford": 0.69})
        made = paper_page(PAPERS["cluster_mac"], {Path("result.json"): ours}, facts=lambda _: facts)
        _, rows = _table(made, "Table 1")
        at = next(i for i, row in enumerate(rows) if row[0] == label)
        ours_and_difference = (rows[at + 1][2], rows[at + 2][2] if rows[at + 2][0].startswith("↳") else None)
        assert ours_and_difference == (("69.0", difference) if measured == crop else ("—", None))


def test_what_all_columns_are_measured_under_is_said_once(page):
    table, _ = _table(page("adaptive_triplet"), "Table 3")
    assert "protocol hashing" in table.about[0]
    assert all("hashing" not in column.head for column in table.columns)


def test_a_missing_seed_is_missing_here_too(page, make_result):
    results = [make_result(seed=0), make_result(variant="no_se", seed=0), make_result(variant="no_se", seed=1)]
    table, rows = _table(page("abir", *results))
    at = next(i for i, row in enumerate(rows) if row[0] == "ABIR with SE-block")
    assert set(rows[at + 1][1:]) == {"—"}
    assert "1 of 2 seeds; missing: 1 (seed 0: R@1 50.0)" in table.footnotes


def test_misprints_and_protocols_are_footnotes(page):
    table, _ = _table(page("abir"))
    assert "printed as 50" in table.footnotes
    column = next(c for c in table.columns if c.head == "cub R@32")
    assert [table.footnotes[mark - 1] for mark in table.marks(column)] == ["printed as 50"]
    assert table.marks(next(c for c in table.columns if c.head == "cars196 R@32")) == []
    assert [table.footnotes[m - 1] for m in table.marks(table.rows[3][0])] == ["images: cub cropped"]
    assert len(table.remarks) == 3


def test_repairs_of_the_reading_are_footnotes(page):
    table, rows = _table(page("udq"), "Table 5")
    row = next(i for i, texts in enumerate(rows) if texts[0] == "UDQ-PBR")
    notes = [table.footnotes[mark - 1] for mark in table.marks(table.rows[row][3])]
    assert rows[row][3] == "0.890"
    assert len(notes) == 1
    assert notes[0].startswith('ocr-repaired, read as "3.0 | 390" (confidence: good')
    assert any("ocr-repaired (UDQ rows)" in remark for remark in table.remarks)


def test_hints_in_the_text_are_footnotes(page):
    table, rows = _table(page("adaptive_triplet"))
    assert rows[0][:3] == ["ResNet18", "61.87", "40.65"]
    assert any("cub map triplet: about +16 points" in note for note in table.footnotes)


def test_fractions_stay_fractions(make_result, protocol):
    way = protocol("paris6k", name="crop-x", metrics=("map_oxford",), main_metric="map_oxford")
    run = RunId(suite="tiny", dataset="paris6k", method="udq", variant="final_bfr", seed=0)
    ours = replace(make_result(), run=run, protocol=way, metrics={"map_oxford": 0.8876})
    made = paper_page(PAPERS["udq"], {Path("result.json"): ours}, facts=lambda name: DatasetFacts(name, way))
    table, rows = _table(made, "Table 5")
    at = next(i for i, row in enumerate(rows) if row[0] == "UDQ-BFR")
    column = [c.head for c in table.columns].index("paris6k")
    assert (rows[at][column], rows[at + 1][column], rows[at + 2][column]) == ("0.900", "0.888", "−0.012")
    assert rows[at + 1][column + 1] == "—"


def test_a_paper_without_numbers_says_so(page):
    made = page("regional_attention")
    assert made.tables == ()
    assert "No table of this paper is known here" in made.about[1]
    assert [head for head, _ in made.lists] == ["Settings to reproduce", "Notes"]


def test_records_carry_every_printed_cell(page, make_result):
    records = page("abir", make_result(metrics=(0.75, 0.85))).records
    assert len(records) == 8 * 12 + 10 * 6 + 10 * 4
    ours = [r for r in records if r["ours"] is not None]
    assert [(r["column"], r["printed"], r["ours"], round(r["difference"], 6)) for r in ours] == [
        ("cub_r1", 78.1, 75.0, -3.1),
        ("cub_r2", 84.6, 85.0, 0.4),
    ]
