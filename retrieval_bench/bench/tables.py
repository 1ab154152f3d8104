"""A table as a thing of its own, before it is Markdown, LaTeX, HTML or CSV."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from retrieval_bench.bench.words import MISSING


@dataclass(frozen=True)
class Cell:
    """A cell; its notes become numbered footnotes, its links lead to result files, its value is what it is sorted by.

    What stands out, such as the best of a column, is strong.
    """

    text: str = MISSING
    notes: tuple[str, ...] = ()
    links: tuple[tuple[str, Path], ...] = ()
    value: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column's head; numbers stand flush right. The key is that of the metric or the cost in it, if it is one."""

    head: str
    number: bool = True
    notes: tuple[str, ...] = ()
    key: str | None = None


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: Its heading.
        about: Sentences above it.
        columns: The heads; the first column names the row.
        rows: One cell a column.
        remarks: Remarks on the whole table, below it.
    """

    title: str
    about: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row has {len(row)} cells for {len(self.columns)} columns")

    def _notes(self) -> Iterator[str]:
        for column in self.columns:
            yield from column.notes
        for row in self.rows:
            for cell in row:
                yield from cell.notes

    @cached_property
    def footnotes(self) -> list[str]:
        """Every note once, in reading order."""
        return list(dict.fromkeys(self._notes()))

    @cached_property
    def _numbered(self) -> dict[str, int]:
        return {note: number for number, note in enumerate(self.footnotes, start=1)}

    def marks(self, part: Cell | Column) -> list[int]:
        """The numbers of a part's footnotes, from 1 on."""
        return sorted(self._numbered[note] for note in part.notes)

    def only_links(self, column: int) -> bool:
        """Whether a column says nothing where links cannot be followed, as in print."""
        cells = [row[column] for row in self.rows]
        return any(cell.links and not cell.text for cell in cells)


Record = dict[str, str | int | float | None]


@dataclass(frozen=True)
class Page:
    """Tables with what belongs to them.

    Attributes:
        title: The heading.
        about: Sentences below it.
        tables: The tables.
        lists: Headed lists after the tables.
        records: The same numbers, one a record, for CSV; all have the same keys.
        fields: These keys, which the head of a CSV without any number shows, too.
    """

    title: str
    about: tuple[str, ...]
    tables: tuple[Table, ...]
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    records: tuple[Record, ...] = ()
    fields: tuple[str, ...] = ()


_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(marks: list[int]) -> str:
    """Footnote numbers as small raised digits."""
    return " ".join(str(mark).translate(_SUPERSCRIPT) for mark in marks)


def relative(target: Path, base: Path) -> str:
    """A link from a folder to a file, as a relative address."""
    return quote(Path(os.path.relpath(target, base)).as_posix())
