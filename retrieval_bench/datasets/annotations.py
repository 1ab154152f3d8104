"""Annotation files, read strictly: every mistake is reported with its file and line."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retrieval_bench.datasets.errors import DataError

Columns = Mapping[str, Callable[[str], Any]]  # what a column is, in words, and how it is read from text

UNPACK_AGAIN = "the file seems damaged or incomplete: unpack the original archive again"


def read_rows(
    file: Path,
    columns: Columns,
    *,
    header: str | None = None,
    counted: bool = False,
) -> list[tuple[Any, ...]]:
    """Read a text file of columns separated by white space.

    Args:
        file: The file; empty lines are passed over.
        columns: What each column is, in words for the error message, and the function that reads it from text;
            one that raises ValueError marks the line as wrong.
        header: The line that names the columns, if there is one.
        counted: Whether the first line holds the number of rows.

    Raises:
        DataError: If the file is missing, is no text, or a line is not as expected.
    """
    lines = _text(file).splitlines()
    start, announced = 0, None
    if counted:
        announced = lines[0].strip() if lines else ""
        if not announced.isdecimal():
            raise DataError(f"{file}, line 1: expected the number of rows, found {announced!r}; {UNPACK_AGAIN}")
        start = 1
    if header is not None:
        found = lines[start] if len(lines) > start else ""
        if found.split() != header.split():
            raise DataError(f"{file}, line {start + 1}: expected {header!r}, found {found!r}; {UNPACK_AGAIN}")
        start += 1
    readers, rows = tuple(columns.values()), []
    for number, line in enumerate(lines[start:], start + 1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append(tuple(read(word) for read, word in zip(readers, words, strict=True)))
        except ValueError as error:
            wanted = ", ".join(columns)
            raise DataError(f"{file}, line {number}: expected {wanted}; found {line!r}; {UNPACK_AGAIN}") from error
    if announced is not None and int(announced) != len(rows):
        raise DataError(f"{file}: its first line announces {announced} rows, it has {len(rows)}; {UNPACK_AGAIN}")
    return rows


def read_keyed(file: Path, columns: Columns) -> dict[Any, tuple[Any, ...]]:
    """Read a text file whose first column is a key, each key once.

    Raises:
        DataError: As ``read_rows`` does, and if a key comes twice.
    """
    rows = read_rows(file, columns)
    keyed = {row[0]: row[1:] for row in rows}
    if len(keyed) < len(rows):
        twice = Counter(row[0] for row in rows).most_common(1)[0][0]
        raise DataError(f"{file}: {next(iter(columns))} {twice!r} comes twice; {UNPACK_AGAIN}")
    return keyed


def lookup(facts: Mapping[Any, Any], key: Any, file: Path, what: str) -> Any:
    """What a file says about a key.

    Raises:
        DataError: If it says nothing, naming the file and ``what`` was looked up.
    """
    try:
        return facts[key]
    except KeyError:
        raise DataError(f"{file} has no entry for {what} {key!r}; {UNPACK_AGAIN}") from None


def flag(text: str) -> bool:
    """Read 0 or 1."""
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def one_of(*words: str) -> Callable[[str], str]:
    """A reader that takes one of the words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def relative_path(text: str) -> str:
    """Read a path that stays inside the data set's folder."""
    if text.startswith("/") or "\\" in text or ".." in text.split("/"):
        raise ValueError(text)
    return text


def read_mat(file: Path) -> dict[str, Any]:
    """Read a MATLAB file, its singleton dimensions removed.

    Raises:
        DataError: If the file is missing or cannot be read.
    """
    from scipy.io import loadmat  # slow to import, and only Cars196 and a few more need it

    _demand(file)
    try:
        return dict(loadmat(file, squeeze_me=True))
    except Exception as error:  # a broken file makes scipy raise nearly anything
        raise DataError(f"{file}: not a readable MATLAB file ({error}); {UNPACK_AGAIN}") from error


def _text(file: Path) -> str:
    _demand(file)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text file; {UNPACK_AGAIN}") from error


def _demand(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"there is no {file}, which the data set needs; unpack the original archive again")
