"""A paper's own tables again: its rows and columns, the competitors included, our numbers and the difference below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_bench.bench.facts import dataset_facts
from retrieval_bench.bench.leaderboard import Facts, published_ways
from retrieval_bench.bench.papers import Paper, PaperColumn, PaperRow, PaperTable, setting_of, way_of
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.suite import Suite
from retrieval_bench.bench.summary import Row, boards
from retrieval_bench.bench.tables import Cell, Column, Page, Record, Table
from retrieval_bench.bench.words import count, metric_label, number, signed, spread

Ours = Mapping[tuple[str, str | None, str, str | None], Sequence[Row]]
"""By data set, what papers call the way of measuring, method and variant, the rows measured in that way."""


FIELDS = (
    *("paper", "table", "row", "role", "config", "column", "dataset", "protocol", "metric", "unit"),
    *("printed", "ours", "std", "suite", "seeds", "expected_seeds", "difference", "notes"),
)
"""The names in every record, in their order."""


def paper_page(
    paper: Paper,
    results: Mapping[Path, Result],
    *,
    suites: Mapping[str, Suite] | None = None,
    facts: Facts = dataset_facts,
) -> Page:
    """A paper's tables with our numbers in them.

    Only results on the original edition enter, under the protocol that the paper's row or column names, or else the
    data set's default one.

    Args:
        paper: The published numbers.
        results: By file.
        suites: The suites that are known, by name.
        facts: Gives what is known of a data set.
    """
    ours: dict[tuple[str, str | None, str, str | None], list[Row]] = {}
    for board in boards(results, suites):
        for way in published_ways(board.protocol, facts(board.protocol.dataset)):
            for row in (row for row in board.rows if not row.guest):
                ours.setdefault((board.protocol.dataset, way, row.method, row.variant), []).append(row)
    info = paper.paper
    source = ", ".join(filter(None, [info.authors, info.venue, str(info.year), info.doi and f"doi {info.doi}"]))
    about = [f"{source}.", "— is missing. Ours: mean ± sample standard deviation over seeds; below it, ours − theirs."]
    if not paper.tables:
        about = [about[0], "No table of this paper is known here, so there is nothing to stand beside our numbers."]
    return Page(
        info.title,
        tuple(about),
        tuple(_table(paper, table, ours) for table in paper.tables),
        _lists(paper),
        tuple(_record(paper, t, row, column, ours) for t in paper.tables for row in t.rows for column in t.columns),
        FIELDS,
    )


@dataclass(frozen=True)
class _Match:
    """Our number for a printed cell, in the table's unit."""

    mean: float | None
    std: float | None
    row: Row


def _match(paper: Paper, table: PaperTable, row: PaperRow, column: PaperColumn, ours: Ours) -> _Match | None:
    setting = setting_of(paper, row, column)
    if setting is None or table.scale is None or column.dataset is None:
        return None
    candidates = ours.get((column.dataset, way_of(row, column), *setting), ())
    if not candidates:
        return None
    # Whole rows first, then by the suite's name: never by the number.
    chosen = min(candidates, key=lambda candidate: (not candidate.whole, candidate.suite))
    value = chosen.metric(column.key)
    if value is None:
        return _Match(None, None, chosen)
    return _Match(value.mean * table.scale, None if value.std is None else value.std * table.scale, chosen)


def _table(paper: Paper, table: PaperTable, ours: Ours) -> Table:
    shared, heads = _heads(table)
    beside = [name for name in ("dim", "code_length") if any(getattr(row, name) for row in table.rows)]
    columns = [
        Column("", number=False),
        *(Column({"dim": "dimensions", "code_length": "code length"}[name]) for name in beside),
        *(Column(head, notes=_head_notes(c)) for head, c in zip(heads, table.columns, strict=True)),
    ]
    rows: list[tuple[Cell, ...]] = []
    for row in table.rows:
        extra = [Cell(str(getattr(row, name) or "")) for name in beside]
        printed = [_printed_cell(paper, table, row, column) for column in table.columns]
        rows.append((Cell(row.label, _row_notes(row)), *extra, *printed))
        if row.config is not None:
            rows += _our_rows(paper, table, row, len(beside), ours)
    unit = {"percent": "Percent", "fraction": "Fractions of 1", "s": "Seconds"}[table.unit]
    direction = "" if table.higher_is_better else ", lower is better"
    about = f"{table.about[:1].upper()}{table.about[1:]}. {unit}{direction}{f'; {shared}' if shared else ''}."
    remarks = list(table.notes)
    if table.ocr != "clean":
        remarks.append(f"Reading of the print: {table.ocr}.")
        if "repaired" in table.ocr and "rule" in paper.ocr:
            remarks.append(f"Rule of the repair: {paper.ocr['rule']}")
    return Table(f"Table {table.id.removeprefix('T')}", (about,), tuple(columns), tuple(rows), tuple(remarks))


def _heads(table: PaperTable) -> tuple[str, list[str]]:
    """What all columns share, said once, and what is left for each one's head."""
    facts: list[tuple[str, list[str]]] = [
        ("dataset", [column.dataset or "" for column in table.columns]),
        ("backbone", [column.backbone or "" for column in table.columns]),
        ("method", [column.method or "" for column in table.columns]),
        ("bits", [f"{column.bits} bit" if column.bits else "" for column in table.columns]),
        ("protocol", [f"protocol {column.protocol}" if column.protocol else "" for column in table.columns]),
        ("metric", [metric_label(column.key) for column in table.columns]),
        ("post-processing", ["post-processed" if column.postproc else "" for column in table.columns]),
    ]
    shared = [values[0] for _, values in facts if len(set(values)) == 1 and values[0]]
    differing = [values for _, values in facts if len(set(values)) > 1]
    heads = [" ".join(filter(None, parts)) for parts in zip(*differing, strict=True)] if differing else []
    if len(set(heads)) < len(table.columns):
        # The facts do not tell the columns apart; their ids do.
        ids = [column.id.replace("_", " ") for column in table.columns]
        return ", ".join(shared), ids if len(table.columns) > 1 else [metric_label(table.columns[0].key)]
    return ", ".join(shared), heads


def _head_notes(column: PaperColumn) -> tuple[str, ...]:
    misprint = column.printed_header and column.k is not None and column.printed_header != str(column.k)
    found = [f"printed as {column.printed_header}"] if misprint else []
    return (*found, *([f"values from reference {column.cite}"] if column.cite else []))


def _row_notes(row: PaperRow) -> tuple[str, ...]:
    notes = list(row.flags)
    if isinstance(row.image_protocol, dict):
        cropped = [f"{data} {how}" for data, how in row.image_protocol.items() if how != "full"]
        if cropped:
            notes.append(f"images: {', '.join(cropped)}")
    notes += [f"{cell.replace('_', ' ')}: {hint}" for cell, hint in row.approximate.items()]
    if row.protocol:
        notes.append(f"protocol {row.protocol}")
    if row.spans_both_columns:
        notes.append("printed once across both columns")
    return (*notes, *([row.provenance] if row.provenance else []))


def _printed_cell(paper: Paper, table: PaperTable, row: PaperRow, column: PaperColumn) -> Cell:
    notes = []
    if flag := row.cell_flags.get(column.id):
        raw = row.ocr_raw.get(column.dataset or "")
        trust = paper.ocr.get("confidence", {}).get(row.label) if "ocr" in flag else None
        notes.append(flag + (f', read as "{raw}"' if raw else "") + (f" (confidence: {trust})" if trust else ""))
    return Cell(number(row.values[column.id], table.places), tuple(notes), value=row.values[column.id])


def _our_rows(paper: Paper, table: PaperTable, row: PaperRow, beside: int, ours: Ours) -> list[tuple[Cell, ...]]:
    matches = [_match(paper, table, row, column, ours) for column in table.columns]
    blank = [Cell("")] * beside
    found = list({id(match.row): match.row for match in matches if match}.values())
    notes = [note for one in found for note in _our_notes(one, table)]
    links = tuple((f"{one.suite} s{seed}", one.results[seed][0]) for one in found for seed in one.seeds)
    values = [Cell(spread(m.mean, m.std, table.places)) if m else Cell() for m in matches]
    rows = [(Cell("↳ ours", tuple(dict.fromkeys(notes)), links), *blank, *values)]
    differences = [_difference(match, row.values[c.id]) for match, c in zip(matches, table.columns, strict=True)]
    if any(difference is not None for difference in differences):
        cells = [Cell(signed(difference, table.places)) for difference in differences]
        rows.append((Cell("↳ difference"), *blank, *cells))
    return rows


def _our_notes(row: Row, table: PaperTable) -> list[str]:
    main = next((result.protocol.main_metric for result in row.counted), table.columns[0].key)
    where = f"suite {row.suite}, {count(len(row.seeds), 'seed')}"
    return [where, *row.gaps(main), *row.notes()]


def _difference(match: _Match | None, printed: float | None) -> float | None:
    if match is None or match.mean is None or printed is None:
        return None
    return match.mean - printed


def _lists(paper: Paper) -> tuple[tuple[str, tuple[str, ...]], ...]:
    lists = [
        ("Claims in the text", [_sentence(claim) for claim in paper.text_claims]),
        ("Figures", [_sentence(figure) for figure in paper.figures]),
        ("Settings to reproduce", [_sentence(setting) for setting in paper.settings_to_reproduce]),
        ("Notes", paper.notes),
    ]
    return tuple((head, tuple(lines)) for head, lines in lists if lines)


def _sentence(facts: Mapping[str, Any]) -> str:
    """A free-form entry in one line: its first fact, then the others with their names."""
    (_, first), *others = facts.items()
    known = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in others if value is not None]
    return str(first) + (f": {'; '.join(known)}" if known else "")


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _record(paper: Paper, table: PaperTable, row: PaperRow, column: PaperColumn, ours: Ours) -> Record:
    match = _match(paper, table, row, column, ours)
    printed = row.values[column.id]
    notes = [*_row_notes(row), *_printed_cell(paper, table, row, column).notes, *_head_notes(column)]
    return {
        "paper": paper.paper.key,
        "table": table.id,
        "row": row.label,
        "role": row.role,
        "config": row.config,
        "column": column.id,
        "dataset": column.dataset,
        "protocol": way_of(row, column),
        "metric": column.key,
        "unit": table.unit,
        "printed": printed,
        "ours": match.mean if match else None,
        "std": match.std if match else None,
        "suite": match.row.suite if match else None,
        "seeds": len(match.row.seeds) if match else None,
        "expected_seeds": len(match.row.expected) if match else None,
        "difference": _difference(match, printed),
        "notes": "; ".join(notes),
    }
