"""``leaderboard``: make the tables from the results."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.parsing import Subparsers, add_results, command
from retrieval_bench.commands.tables import make_console, results_below

if TYPE_CHECKING:
    from retrieval_bench.bench.tables import Page


def add(commands: Subparsers) -> None:
    """Add ``leaderboard``."""
    parser = command(
        commands,
        "leaderboard",
        help="make the tables from the results",
        description="One table for each data set and way of measuring, or, with --paper, a paper's own tables with our "
        "numbers in them.",
        example="retrieval-bench leaderboard --paper abir --format md --output abir.md",
    )
    parser.add_argument(
        "--format",
        choices=["md", "csv", "tex", "html"],
        help="default: after --output's ending; drawn on a terminal, md in a pipe",
    )
    parser.add_argument("--paper", metavar="KEY", help="the tables of this paper (results/papers/KEY.yaml)")
    parser.add_argument("--suite", metavar="SUITE", help="only results of this suite")
    add_results(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Make the tables and print or write them."""
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.files import write_whole
    from retrieval_bench.bench.formats import FORMATS
    from retrieval_bench.bench.terminal import show

    target: Path | None = options.output
    chosen: str | None = options.format or (target.suffix[1:] if target else None)
    if target and chosen not in FORMATS:
        raise BenchError(f"--output {target}: no format ends in {target.suffix!r}; name one with --format")
    page = _page(options)
    if target:
        write_whole(target, FORMATS[chosen or "md"](page, target.parent))
    elif chosen is None and sys.stdout.isatty():
        show(page, make_console())
    else:
        sys.stdout.write(FORMATS[chosen or "md"](page, Path()))
    return 0


def _page(options: argparse.Namespace) -> "Page":
    from retrieval_bench.bench.leaderboard import leaderboard
    from retrieval_bench.bench.paper_tables import paper_page
    from retrieval_bench.bench.papers import find_paper, papers_folder, read_papers
    from retrieval_bench.bench.suite import find_suite, known_suites

    suite = Path(options.suite).stem if options.suite else None
    results = results_below(options.results, suite)
    if suite and not results:
        find_suite(options.suite)  # a wrong name rather than a suite nobody has run
    folder = papers_folder(options.results)
    papers = read_papers(folder)
    suites = known_suites({result.run.suite for result in results.values()})
    if options.paper:
        return paper_page(find_paper(papers, options.paper, folder), results, suites=suites)
    return leaderboard(results, papers=papers, suites=suites)
