"""What the commands that print tables share: the results to print, and the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval_bench.bench.results import Result


def make_console() -> "Console":
    """The terminal; in a log, which has no width of its own, tables are not folded."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200)


def results_below(folder: Path, suite: str | None) -> "dict[Path, Result]":
    """The results below a folder, none if no run has been made yet.

    Args:
        folder: Where results go.
        suite: The suite to read; all if None.

    Raises:
        BenchError: If there is no such folder.
    """
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.results import read_results

    if not folder.is_dir():
        raise BenchError(f"there is no folder {folder} to read results from; `retrieval-bench run SUITE` makes one")
    place = folder / "runs" / suite if suite else folder / "runs"
    return read_results(place) if place.is_dir() else {}
