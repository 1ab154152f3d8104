"""Leaderboards: for each data set and way of measuring, all settings side by side. Generated, never typed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from retrieval_bench.bench.facts import DatasetFacts, dataset_facts
from retrieval_bench.bench.noise import NOISE, Standing, standings
from retrieval_bench.bench.papers import Paper, printed_value
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.suite import Suite
from retrieval_bench.bench.summary import Board, Row, Spread, boards
from retrieval_bench.bench.tables import Cell, Column, Page, Record, Table
from retrieval_bench.bench.words import duration, magnitude, metric_label, number, signed, spread
from retrieval_bench.retrieval.protocol import Protocol

Facts = Callable[[str], DatasetFacts | None]
Ways = tuple[str | None, ...]

_COSTS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "parameters": ("parameters (M)", lambda value: number(None if value is None else value / 1e6, 1)),
    "gmac_per_image": ("GMAC/image", magnitude),
    "bytes_per_image": ("bytes/image", magnitude),
    "ms_per_query": ("ms/query", magnitude),
    "images_per_second": ("images/s", magnitude),
    "training_seconds": ("training", duration),
    "peak_memory_mib": ("memory (GiB)", lambda value: number(None if value is None else value / 1024, 1)),
}
_COST_NOTES = {
    "images_per_second": ("described by one process, decoding not counted",),
    "peak_memory_mib": ("the most that a run took of the GPU, or of the host's memory where there is none",),
}


_EDITIONS = {
    "partial-": (
        "a part of it",
        "A part of the data set: these numbers compare with each other and with nothing else.",
    ),
    "miniature-": (
        "miniature",
        "A miniature, drawn in the data set's format: these numbers say whether the code works, not how good a method "
        "is, and compare with each other alone.",
    ),
}
"""By the beginning of an edition that is not a published one, the end of its table's title and a sentence about it."""


def leaderboard(
    results: Mapping[Path, Result],
    *,
    papers: Mapping[str, Paper],
    suites: Mapping[str, Suite] | None = None,
    title: str = "Leaderboard",
    facts: Facts = dataset_facts,
) -> Page:
    """All settings side by side, one table for each data set and protocol fingerprint.

    Args:
        results: By file.
        papers: Published numbers by the papers' keys, which are the methods'.
        suites: The suites that are known, by name: they say which seeds and settings belong in a table.
        title: The page's heading.
        facts: Gives what is known of a data set.

    Raises:
        BenchError: If one run is there twice.
    """
    gathered = boards(results, suites)
    tables, records = [], []
    for board in gathered:
        known, found = facts(board.protocol.dataset), standings(board)
        tables.append(_table(board, found, papers, known))
        records += _records(board, found, papers, known)
    about = (
        "Percentages; mean ± sample standard deviation over seeds, last checkpoint; the best by the main metric is "
        "bold. — is missing: a setting without all its seeds has no mean.",
    )
    if not tables:
        about = ("There are no results yet.",)
    return Page(title, about, tuple(tables), records=tuple(records), fields=FIELDS)


def heading(protocol: Protocol, facts: DatasetFacts | None) -> str:
    """The title of what is measured in one way, which says so if it is no published edition."""
    kind = _kind(protocol)
    return ", ".join([facts.title if facts else protocol.dataset, protocol.name, *([kind[0]] if kind else [])])


def _kind(protocol: Protocol) -> tuple[str, str] | None:
    return next((kind for start, kind in _EDITIONS.items() if protocol.edition.startswith(start)), None)


def describe(protocol: Protocol) -> str:
    """A protocol in one line."""
    facts = [
        f"Protocol {protocol.name}",
        {"exclude": "a query does not find itself", "keep": "a query may find itself"}[protocol.self_match],
        {"none": "whole images", "box": "images cropped to their boxes"}[protocol.image_crop],
        {"none": "", "image": "query images cropped", "activations": "query activations cropped"}[protocol.query_crop],
        {"index": "", "expected": "expectation over ties"}[protocol.ties],
        f"edition {protocol.edition}",
        f"fingerprint {protocol.fingerprint}",
    ]
    return ", ".join(fact for fact in facts if fact) + "."


def _table(
    board: Board, found: Sequence[Standing | None], papers: Mapping[str, Paper], facts: DatasetFacts | None
) -> Table:
    main = board.protocol.main_metric
    ways = published_ways(board.protocol, facts)
    about = [describe(board.protocol)]
    if kind := _kind(board.protocol):
        about.append(kind[1])
    several = len({row.suite for row in board.rows}) > 1
    columns: list[tuple[Column, Callable[[Row], Cell]]] = [
        (Column("method", number=False), lambda row: _name(row, main))
    ]
    if several:
        columns.append((Column("suite", number=False), lambda row: Cell(row.suite)))
    columns += [(Column(metric_label(key), key=key), _metric(key)) for key in board.metrics]
    label = metric_label(main)
    if any(row.metric(main, "before") for row in board.rows):
        head = Column(f"{label} before", notes=("of the network before anything was fitted",))
        columns.append((head, _metric(main, "before")))
    if any(row.metric(main, "best") for row in board.rows):
        note = "the best evaluation on the test set during training; never the result"
        columns.append((Column(f"{label} best on test", notes=(note,)), _metric(main, "best")))
    if any(_printed(row, board, papers, ways) is not None for row in board.rows):
        columns += [
            (
                Column(f"{label} in the paper"),
                lambda row: _percentage(_printed(row, board, papers, ways), number),
            ),
            (Column("Δ"), lambda row: _percentage(_difference(row, board, papers, ways), signed)),
        ]
    for name, (head_text, write) in _COSTS.items():
        if any(row.cost(name) is not None for row in board.rows):
            columns.append((Column(head_text, key=name, notes=_COST_NOTES.get(name, ())), _cost(name, write)))
    columns.append((Column("seeds"), _seeds))
    columns.append((Column("results", number=False), _links))
    rows = tuple(
        tuple(_marked(cell(row), standing) if column.key == main else cell(row) for column, cell in columns)
        for row, standing in zip(board.rows, found, strict=True)
    )
    return Table(heading(board.protocol, facts), tuple(about), tuple(c for c, _ in columns), rows, _made_on(board))


def published_ways(protocol: Protocol, facts: DatasetFacts | None) -> Ways:
    """What papers may call a way of measuring: a protocol's name, and None, too, for a data set's default one.

    Nothing for what is not one of the data set's protocols on its original edition: such numbers may not stand beside
    published ones.
    """
    if facts is None or protocol.edition != "original":
        return ()
    if protocol.fingerprint == facts.protocol.fingerprint:
        return (protocol.name, None)
    return (protocol.name,) if protocol.fingerprint in {other.fingerprint for other in facts.others} else ()


def _name(row: Row, main: str) -> Cell:
    return Cell(f"{row.setting} (guest)" if row.guest else row.setting, notes=(*row.gaps(main), *row.notes()))


def _marked(cell: Cell, standing: Standing | None) -> Cell:
    """A cell of the main metric, telling the best and what cannot be told from it."""
    notes = (*cell.notes, NOISE) if standing == "noise" else cell.notes
    return replace(cell, notes=notes, strong=standing == "best")


def _seeds(row: Row) -> Cell:
    there, expected = len(row.seeds), len(row.expected)
    return Cell(str(there) if there == expected else f"{there} of {expected}", value=there)


def _links(row: Row) -> Cell:
    links = tuple((f"s{seed}", row.results[seed][0]) for seed in row.seeds)
    return Cell("", links=links) if links else Cell()


def _metric(key: str, part: str = "metrics") -> Callable[[Row], Cell]:
    def write(row: Row) -> Cell:
        value = row.metric(key, part)
        return Cell(spread(100 * value.mean, _percent(value.std), 1), value=value.mean) if value else Cell()

    return write


def _percentage(fraction: float | None, write: Callable[[float | None, int], str]) -> Cell:
    return Cell(write(_percent(fraction), 1), value=fraction)


def _cost(name: str, write: Callable[[float | None], str]) -> Callable[[Row], Cell]:
    return lambda row: Cell(write(row.cost(name)), value=row.cost(name))


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _printed(
    row: Row, board: Board, papers: Mapping[str, Paper], ways: Ways, metric: str | None = None
) -> float | None:
    """The paper's own number for a row, as a fraction; the main metric unless another one is named."""
    paper = None if row.guest else papers.get(row.method)
    key = metric or board.protocol.main_metric
    return printed_value(paper, (row.method, row.variant), board.protocol.dataset, key, ways) if paper else None


def _difference(row: Row, board: Board, papers: Mapping[str, Paper], ways: Ways) -> float | None:
    ours, theirs = row.metric(board.protocol.main_metric), _printed(row, board, papers, ways)
    return ours.mean - theirs if ours and theirs is not None else None


def _made_on(board: Board) -> tuple[str, ...]:
    """Which machines and which code made a board's numbers."""
    found = []
    for row in board.rows:
        for result in () if row.guest else row.counted:
            machine = ", ".join(
                [
                    str(result.hardware.get("processor", "unknown processor")),
                    f"{result.hardware.get('cores', '?')} cores",
                    *map(str, result.hardware.get("accelerators") or ()),
                ]
            )
            commit = f" ({result.code.commit[:12]})" if result.code.commit else ""
            changed = " with local changes" if result.code.dirty else ""
            torch = result.packages.get("torch")
            code = f"retrieval_bench {result.code.version}{commit}{changed}" + (f", torch {torch}" if torch else "")
            found.append(f"Made on {machine}; {code}.")
    return tuple(dict.fromkeys(found))


def _records(
    board: Board, found: Sequence[Standing | None], papers: Mapping[str, Paper], facts: DatasetFacts | None
) -> list[Record]:
    ways = published_ways(board.protocol, facts)
    records: list[Record] = []
    for row, standing in zip(board.rows, found, strict=True):
        for key in board.metrics:
            value, before, best = (row.metric(key, part) for part in ("metrics", "before", "best"))
            paper = _printed(row, board, papers, ways, key)
            records.append(
                {
                    "dataset": board.protocol.dataset,
                    "protocol": board.protocol.name,
                    "fingerprint": board.protocol.fingerprint,
                    "edition": board.protocol.edition,
                    "suite": row.suite,
                    "method": row.method,
                    "variant": row.variant,
                    "metric": key,
                    "mean": _mean(value),
                    "std": value.std if value else None,
                    "against_best": standing if key == board.protocol.main_metric else None,
                    "seeds": len(row.seeds),
                    "expected_seeds": len(row.expected),
                    "before": _mean(before),
                    "best_on_test": _mean(best),
                    "paper": paper,
                    "difference": value.mean - paper if value and paper is not None else None,
                    **{name: row.cost(name) for name in _COSTS},
                }
            )
    return records


FIELDS = (
    *("dataset", "protocol", "fingerprint", "edition", "suite", "method", "variant", "metric", "mean", "std"),
    *("against_best", "seeds", "expected_seeds", "before", "best_on_test", "paper", "difference", *_COSTS),
)
"""The names in every record, in their order."""


def _mean(value: Spread | None) -> float | None:
    return value.mean if value else None
