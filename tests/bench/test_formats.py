"""Every format is written and parsed back."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from retrieval_bench.bench.formats import FORMATS
from retrieval_bench.bench.tables import Cell, Column, Page, Table, superscript
from retrieval_bench.bench.terminal import show
from retrieval_bench.bench.words import duration, magnitude, metric_label, number, signed, spread

TRICKY = "a|b <i>&\"' 50% $x_1$ {*} [22] #~^\\"

PAGE = Page(
    "Title & more",
    ("About < this.",),
    (
        Table(
            "First",
            ("Said above.",),
            (Column("method", number=False), Column("R@1", notes=("on heads",)), Column("results", number=False)),
            (
                (
                    Cell(TRICKY, ("a note", TRICKY)),
                    Cell("78.1 ± 0.4"),
                    Cell("", links=(("s0", Path("out/runs/s 0.json")),)),
                ),
                (Cell("plain", ("a note",)), Cell(), Cell()),
            ),
            ("A remark.",),
        ),
        Table("Second", (), (Column("x", number=False), Column("y")), ((Cell("z"), Cell("−1.0", ("second",))),)),
    ),
    (("List", ("one", "two | three")),),
    ({"name": 'with, comma and "quotes"', "value": 0.1 + 0.2, "none": None}, {"name": "—", "value": 3, "none": None}),
)
BASE = Path("out/leaderboards")


def _markdown_rows(text):
    rows = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            rows.append([re.sub(r"\\(.)", r"\1", cell) for cell in cells])
    return rows


def test_markdown_is_read_back_and_its_columns_are_straight():
    text = FORMATS["md"](PAGE, BASE)
    head, rule, first, second, *_ = _markdown_rows(text)
    assert head == ["method", "R@1 ¹", "results"]
    assert [set(cell) for cell in rule] == [{"-"}, {"-", ":"}, {"-"}]
    assert first == [f"{TRICKY} ² ³", "78.1 ± 0.4", "[s0][r1]"]
    assert second == ["plain ²", "—", "—"]
    table = [line for line in text.splitlines() if line.startswith("|")][:4]
    assert len({cell_len(line) for line in table}) == 1
    assert "[r1]: ../runs/s%200.json" in text


def test_markdown_footnotes_stand_below_their_own_table():
    text = FORMATS["md"](PAGE, BASE)
    first, second = text.split("## Second")
    assert "- ¹ on heads\n- ² a note\n- ³ " in first
    assert "- A remark." in first
    assert "- ¹ second" in second


class _Tables(HTMLParser):
    """Collects rows of cells, links and the tags that are open."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.rows, self.links, self.open, self.scopes, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.scopes.append(attrs.get("scope"))
        if tag == "a":
            self.links.append(attrs["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open) and "sup" not in self.open:
            self.rows[-1][-1] += data


def test_html_is_read_back_escaped_and_accessible():
    parser = _Tables()
    text = FORMATS["html"](PAGE, BASE)
    parser.feed(text)
    assert parser.open == []
    assert [[cell.strip() for cell in row] for row in parser.rows] == [
        ["method", "R@1", "results"],
        [TRICKY, "78.1 ± 0.4", "s0"],
        ["plain", "—", "—"],
        ["x", "y"],
        ["z", "−1.0"],
    ]
    assert "<i>" not in text
    assert parser.scopes.count("col") == 5
    assert parser.scopes.count("row") == 3
    assert "../runs/s%200.json" in parser.links
    footnotes = [link[1:] for link in parser.links if link.startswith("#")]
    assert footnotes
    assert set(footnotes) <= set(parser.ids)
    assert len(set(parser.ids)) == len(parser.ids)


def test_html_tables_scroll_by_themselves_under_a_heading_that_names_them():
    text = FORMATS["html"](PAGE, BASE)
    scrollers = re.findall(r'<div class="scroller" role="region" aria-labelledby="(\w+)" tabindex="0">\n<table', text)
    headings = re.findall(r'<h2 id="(\w+)">(.*?)</h2>', text)
    assert scrollers == [name for name, _ in headings]
    assert len(scrollers) == len(PAGE.tables)
    for table in PAGE.tables:
        for line in table.about:
            assert f"<p>{line}</p>" in text
    assert "<caption>" not in text
    assert "color-scheme: light dark" in text


def _untex(text):
    plain = {
        r"\textbackslash{}": "\\",
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"$\pm$": "±",
        "$-$": "−",
        "---": "—",
    }
    text = re.sub(r"\\textsuperscript\{[\d,]*\}", "", text)
    pattern = "|".join(map(re.escape, plain)) + r"|\\[&%$#_{}]"
    return re.sub(pattern, lambda found: plain.get(found[0], found[0][1:]), text)


def test_latex_is_read_back_without_the_links():
    text = FORMATS["tex"](PAGE, BASE)
    bodies = re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL)
    rows = [
        [_untex(cell.strip()) for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]
        for line in bodies[0].splitlines()
        if line != r"\midrule"
    ]
    assert rows == [["method", "R@1"], [TRICKY, "78.1 ± 0.4"], ["plain", "—"]]
    assert r"\begin{tabular}{lr}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    braces = re.sub(r"\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")
    assert text.isascii()


def test_csv_is_read_back_with_numbers_and_gaps():
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](PAGE, BASE))))
    assert rows == [
        {"name": 'with, comma and "quotes"', "value": "0.3", "none": ""},
        {"name": "—", "value": "3", "none": ""},
    ]


def test_the_terminal_shows_cells_and_footnotes_as_they_are():
    out = io.StringIO()
    show(PAGE, Console(file=out, width=200))
    text = out.getvalue()
    assert TRICKY in text
    assert "³ " + TRICKY in text
    assert "A remark." in text
    assert "s 0.json" not in text
    assert "results" not in text


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="a row has 1 cells for 2 columns"):
        Table("t", (), (Column("a"), Column("b")), ((Cell("1"),),))


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_page_can_be_written(kind):
    assert FORMATS[kind](Page("Nothing", ("No results.",), ()), BASE) is not None


def test_numbers_are_written_as_a_reader_expects():
    assert [number(-1.25, 1), number(None, 1), signed(0.04, 1), signed(-0.04, 1), signed(-3, 1), signed(2.25, 2)] == [
        "−1.2",
        "—",
        "±0.0",
        "±0.0",
        "−3.0",
        "+2.25",
    ]
    assert [spread(1, None, 1), spread(1, 0.25, 2), spread(None, None, 1)] == ["1.0", "1.00 ± 0.25", "—"]
    assert [duration(s) for s in (12.4, 90, 5400, None)] == ["12 s", "1.5 min", "1.5 h", "—"]
    assert [magnitude(v) for v in (1234.5, 2048, 0.1234, 12.34, 3.0, None)] == [
        "1234",
        "2048",
        "0.123",
        "12.3",
        "3",
        "—",
    ]
    assert [
        metric_label(k)
        for k in (
            "recall_at_1",
            "precision_at_10",
            "capped_precision_at_10",
            "map",
            "map_at_r",
            "map_oxford",
            "new_one",
        )
    ] == [
        "R@1",
        "P@10",
        "mP@10",
        "mAP",
        "mAP@R",
        "mAP (Oxford)",
        "new one",
    ]
    assert superscript([1, 12]) == "¹ ¹²"
