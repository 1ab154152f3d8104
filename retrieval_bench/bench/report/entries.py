"""Where each setting of the tables has its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from retrieval_bench.bench.report.names import slug
from retrieval_bench.bench.settings import Setting
from retrieval_bench.bench.summary import Board, Row


@dataclass(frozen=True)
class Entry:
    """A row of a table and its page.

    Attributes:
        board: The table.
        row: The row.
        name: What tells it from the table's others.
    """

    board: Board
    row: Row
    name: str

    @cached_property
    def page(self) -> str:
        """Its file, from the report's folder."""
        protocol = self.board.protocol
        return f"settings/{slug(self.row.suite, protocol.dataset, protocol.fingerprint, self.row.setting)}.html"

    @cached_property
    def setting(self) -> Setting:
        """The row with its options."""
        return Setting.of(self.board.protocol, self.row)


def dataset_page(dataset: str) -> str:
    """The page with the tables of a data set, from the report's folder."""
    return f"data/{slug(dataset)}.html"


def paper_file(key: str) -> str:
    """The page with the tables of a paper, from the report's folder."""
    return f"papers/{slug(key)}.html"


def result_file(entry: Entry, seed: int) -> str:
    """The copy of one seed's result, from the report's folder."""
    return f"results/{PurePosixPath(entry.page).stem}.s{seed}.json"


def entries(board: Board) -> list[Entry]:
    """Every row of a table, in its order; those without any result have no page, but keep their place."""
    return [Entry(board, row, name) for row, name in zip(board.rows, short_names(board.rows), strict=True)]


def short_names(rows: Sequence[Row]) -> list[str]:
    """What tells the rows of one table apart: without the method's name where there is only one method."""
    several_methods = len({row.method for row in rows}) > 1
    several_suites = len({row.suite for row in rows}) > 1
    names = [row.setting if several_methods or not row.variant else row.variant for row in rows]
    return [f"{name} ({row.suite})" if several_suites else name for name, row in zip(names, rows, strict=True)]
