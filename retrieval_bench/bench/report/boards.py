"""What the page of a data set shows of one table: its marks, its charts, its pairs and its ranked queries."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from retrieval_bench.bench.noise import NOISE
from retrieval_bench.bench.per_query import per_query_file, read_per_query
from retrieval_bench.bench.ranked import Ranked
from retrieval_bench.bench.report.entries import Entry
from retrieval_bench.bench.report.pictures import Albums
from retrieval_bench.bench.report.plots import Plot
from retrieval_bench.bench.report.ranking import RankedList, ranked_list, ranked_run, spread_out
from retrieval_bench.bench.report.versus import Duel
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.summary import Board
from retrieval_bench.bench.tables import Cell, Table
from retrieval_bench.bench.words import metric_label, number, signed

_QUERIES = 8
"""Queries of each setting whose ranked results are shown."""
_EXTREMES = 4
"""Queries of each side of a pair whose ranked results are shown."""
_NAMED = 12
"""Queries of each side of a pair that are named."""


@dataclass(frozen=True)
class BoardView:
    """One table with all that is shown of it.

    Attributes:
        board: The settings.
        table: Their table, as the leaderboard has it.
        entries: Its rows.
        duels: Its pairs.
        plots: Its charts.
    """

    board: Board
    table: Table
    entries: Sequence[Entry]
    duels: Sequence[Duel]
    plots: Sequence[Plot]

    @property
    def id(self) -> str:
        """Its anchor in the page."""
        return f"p-{self.board.protocol.fingerprint}"

    @property
    def suites(self) -> str:
        """The suites of its rows."""
        return ", ".join(dict.fromkeys(entry.row.suite for entry in self.entries))

    @property
    def order(self) -> tuple[bool, bool, str, str]:
        """Where it stands in its page: whole data sets first, miniatures last."""
        protocol = self.board.protocol
        miniature, part = (protocol.edition.startswith(start) for start in ("miniature-", "partial-"))
        return miniature, part, protocol.name, self.suites

    @property
    def main(self) -> str:
        """The head of the column that ranks."""
        return metric_label(self.board.protocol.main_metric)

    @cached_property
    def best(self) -> dict[int, set[int]]:
        """By column that holds a metric, the rows with its highest value, where there is more than one row."""
        found = {}
        for place, column in enumerate(self.table.columns):
            values = [row[place].value for row in self.table.rows]
            known = [value for value in values if value is not None]
            if column.key in self.board.metrics and len(known) > 1:
                highest = {i for i, value in enumerate(values) if value == max(known)}
                found[place] = highest if len(highest) < len(known) else set()
        return found

    def within_noise(self, cell: Cell) -> bool:
        """Whether the leaderboard says of a number that it cannot be told from the best."""
        return NOISE in cell.notes

    @property
    def tied(self) -> int:
        """How many settings cannot be told from the best."""
        return sum(any(map(self.within_noise, row)) for row in self.table.rows)

    @cached_property
    def against_best(self) -> dict[str, Duel]:
        """By the page of a setting, its pair with the best one."""
        return {duel.b.page: duel for duel in self.duels if duel.a is self.duels[0].a}

    def pairs_of(self, entry: Entry) -> list[Duel]:
        """The pairs that a setting is in."""
        return [duel for duel in self.duels if entry.page in (duel.a.page, duel.b.page)]


@dataclass(frozen=True)
class Named:
    """A query of a pair that one side wins: what it is called, and both values as written."""

    name: str
    of_a: str
    of_b: str
    difference: str
    lists: tuple[RankedList, RankedList] | None = None


@dataclass
class RankedBoard:
    """The ranked results of the settings of one table: the same queries of each, so that they can be compared.

    Attributes:
        entries: The settings.
        albums: The pictures.
        runs: By the page of a setting, the seed, the result and the ranked results that it kept.
    """

    entries: Sequence[Entry]
    albums: Albums
    runs: Mapping[str, tuple[int, Result, Ranked]] = field(init=False)

    def __post_init__(self) -> None:
        found = {entry.page: ranked_run(entry.row) for entry in self.entries}
        self.runs = {page: run for page, run in found.items() if run}

    @cached_property
    def _scores(self) -> dict[str, dict[int, float]]:
        """By the page of a setting that kept ranked results, what the same seed scored on each query."""
        found = {}
        for entry in self.entries:
            if entry.page in self.runs:
                seed, result, _ = self.runs[entry.page]
                if path := per_query_file(entry.row.results[seed][0], result):
                    rows, values = read_per_query(path, entry.board.protocol.main_metric)
                    found[entry.page] = dict(zip(rows.tolist(), values.tolist(), strict=True))
        return found

    @cached_property
    def queries(self) -> list[int]:
        """From the hardest to the easiest on average, evenly spread: rows of the sample table."""
        if not self.runs:
            return []
        shared = set.intersection(*({int(q) for q in ranked.query} for _, _, ranked in self.runs.values()))
        rows, known = sorted(shared), list(self._scores.values())
        means = [float(np.nansum([scores.get(row, 0.0) for scores in known])) for row in rows]
        return [rows[place] for place in spread_out(means, _QUERIES)]

    def lists(self, entry: Entry) -> list[RankedList]:
        """What a setting found for these queries."""
        return [found for query in self.queries if (found := self._list(entry, query))]

    def _list(self, entry: Entry, query: int) -> RankedList | None:
        if entry.page not in self.runs:
            return None
        _, result, ranked = self.runs[entry.page]
        if query not in ranked.query:
            return None
        score = self._scores.get(entry.page, {}).get(query, math.nan)
        label = metric_label(entry.board.protocol.main_metric)
        value = "" if math.isnan(score) else f"{label} {number(100 * score, 1)}"
        return ranked_list(ranked, query, result, self.albums.of(result), value)

    def sides(self, duel: Duel) -> tuple[list[Named], list[Named]]:
        """The queries that A wins by most and those that B does, the first ones with both ranked lists."""
        won, lost = duel.comparison.extremes(_NAMED)
        return (
            [self._named(duel, place, i < _EXTREMES) for i, place in enumerate(won)],
            [self._named(duel, place, i < _EXTREMES) for i, place in enumerate(lost)],
        )

    def _named(self, duel: Duel, place: int, with_lists: bool) -> Named:
        row = int(duel.comparison.query[place])
        album = self.albums.of(duel.a.row.counted[0])  # that of B has the same fingerprint
        name = album.table.path[row] if album else f"row {row}"
        lists = (self._list(duel.a, row), self._list(duel.b, row)) if with_lists else (None, None)
        a, b = (100 * float(values[:, place].mean()) for values in duel.comparison.values)
        both = (lists[0], lists[1]) if lists[0] and lists[1] else None
        return Named(name, number(a, 1), number(b, 1), signed(a - b, 1), both)
