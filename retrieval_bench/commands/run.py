"""``run``: train and evaluate a suite."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.parsing import Subparsers, command
from retrieval_bench.commands.selection import USAGE, add_selection, again, chosen
from retrieval_bench.commands.tables import make_console, results_below

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval_bench.bench.plan import Run
    from retrieval_bench.bench.runner import Outcome
    from retrieval_bench.bench.suite import Suite

INTERRUPTED = 130


def add(commands: Subparsers) -> None:
    """Add ``run``."""
    parser = command(
        commands,
        "run",
        help="train and evaluate a suite: methods x variants x seeds",
        description="Make the runs of a suite one after the other, each its own process. What is done is skipped, what "
        "was cut short is resumed, a failed run does not stop the others. Exit status 1 if a run failed, 130 after "
        "Ctrl-C.",
        example="retrieval-bench run benchmarks/suites/cub.yaml --methods abir --seeds 0 1 --dry-run",
    )
    parser.usage = f"{USAGE} [--dry-run] [--print-commands]"
    add_selection(parser)
    parser.add_argument("--dry-run", action="store_true", help="list the runs, their states and their commands")
    parser.add_argument(
        "--print-commands", action="store_true", help="print a line for each run to make, for another scheduler"
    )
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Make the runs of a suite, then its leaderboard."""
    from retrieval_bench.bench.progress import Progress
    from retrieval_bench.bench.runner import run_all, state

    suite, runs = chosen(options)
    if options.print_commands:
        for run in runs:
            if state(run) != "done":
                print(again(options, run))
        return 0
    console = make_console()
    if options.dry_run:
        return _dry_run(runs, options, console)
    progress = Progress(console)
    try:
        outcomes = run_all(runs, progress=progress)
    except KeyboardInterrupt:
        progress.close()
        progress.say(f"Interrupted; everything so far is kept. To go on: {again(options)}")
        return INTERRUPTED
    _write_leaderboard(suite, options.output, console)
    return _summarize(outcomes, console)


def _dry_run(runs: "Sequence[Run]", options: argparse.Namespace, console: "Console") -> int:
    from retrieval_bench.bench.jobs import standings
    from retrieval_bench.bench.tables import Cell, Column, Table
    from retrieval_bench.bench.terminal import show_table
    from retrieval_bench.bench.words import count

    columns = (Column("run", number=False), Column("state", number=False), Column("config", number=False))
    shown = zip(runs, standings(runs), strict=True)
    rows = tuple((Cell(r.id.name), Cell(standing), Cell(r.config_hash)) for r, standing in shown)
    show_table(Table(count(len(runs), "run"), (), columns, rows), console)
    console.print("\nOne at a time, here or on another machine:")
    for one in runs:
        console.print(again(options, one), soft_wrap=True, highlight=False, markup=False)
    return 0


def _summarize(outcomes: "Sequence[Outcome]", console: "Console") -> int:
    """What became of the runs, and the end of the log of each that failed."""
    from retrieval_bench.bench.runner import LOG_FILE, log_tail
    from retrieval_bench.bench.tables import Cell, Column, Table
    from retrieval_bench.bench.terminal import show_table
    from retrieval_bench.bench.words import count, duration

    failed = [outcome for outcome in outcomes if outcome.ending == "failed"]
    columns = (Column("run", number=False), Column("", number=False), Column("took"), Column("", number=False))
    rows = tuple(
        (Cell(o.run.id.name), Cell(o.ending), Cell(duration(o.seconds) if o.seconds else ""), Cell(o.reason))
        for o in outcomes
    )
    console.print()
    show_table(Table(f"{count(len(outcomes), 'run')}, {len(failed)} failed", (), columns, rows), console)
    for outcome in failed:
        console.print(f"\n{outcome.run.id.name} failed: {outcome.reason}", highlight=False, markup=False)
        console.print(f"The end of {outcome.run.folder / LOG_FILE}:", highlight=False, markup=False)
        for line in log_tail(outcome.run):
            console.print(f"    {line}", soft_wrap=True, highlight=False, markup=False)
    return 1 if failed else 0


def _write_leaderboard(suite: "Suite", output: Path, console: "Console") -> None:
    from retrieval_bench.bench.files import write_whole
    from retrieval_bench.bench.leaderboard import leaderboard
    from retrieval_bench.bench.markdown import markdown
    from retrieval_bench.bench.papers import papers_folder, read_papers
    from retrieval_bench.bench.terminal import show

    page = leaderboard(
        results_below(output, suite.name),
        papers=read_papers(papers_folder(output)),
        suites={suite.name: suite},
        title=f"Leaderboard of the suite {suite.name}",
    )
    path = output / "leaderboards" / f"{suite.name}.md"
    write_whole(path, markdown(page, path.parent))
    console.print()
    show(page, console)
    console.print(f"\nWritten to {path}", soft_wrap=True, highlight=False, markup=False)
