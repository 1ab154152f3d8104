"""The commands that make runs and tables: run, leaderboard, regress. Light: nothing here imports the tensor library."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval_bench.bench.plan import Run
    from retrieval_bench.bench.results import Result
    from retrieval_bench.bench.runner import Outcome
    from retrieval_bench.bench.suite import Suite
    from retrieval_bench.bench.tables import Page

INTERRUPTED = 130


def add_bench_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``run``, ``leaderboard`` and ``regress``.

    Each sets ``handler``, which takes the arguments and returns the exit status.

    Args:
        subparsers: Where to add them.
    """
    _add_run(subparsers)
    _add_leaderboard(subparsers)
    _add_regress(subparsers)


def _add_run(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        subparsers,
        "run",
        "train and evaluate a suite: methods x variants x seeds",
        "Make the runs of a suite one after the other, each its own process. What is done is skipped, what was "
        "cut short is resumed, a failed run does not stop the others. Exit status 1 if a run failed, 130 after "
        "Ctrl-C.",
        "retrieval-bench run benchmarks/suites/cub.yaml --methods abir --seeds 0 1 --dry-run",
    )
    parser.usage = (
        "%(prog)s SUITE [--datasets KEY ...] [--methods NAME ...] [--variants NAME ...] [--seeds N ...]\n"
        "       [--set OPTION=VALUE] [--limit N] [--dry-run] [--data-dir DIR] [--output DIR]"
    )
    # Not demanded by the parser: it would only say that SUITE is missing where an option has taken it.
    parser.add_argument("suite", nargs="?", metavar="SUITE", help="a suite's file, or its name in benchmarks/suites")
    parser.add_argument("--datasets", nargs="+", default=[], metavar="KEY", help="only these data sets")
    parser.add_argument("--methods", nargs="+", default=[], metavar="NAME", help="only these methods")
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="NAME", help="only these variants (full: the method's own config)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="only these seeds")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of every run, over the suite's own: --set model.init_args.weights=vgg16.pth; may be repeated",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="at most this many runs")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, their states and their commands")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data sets' folder (default: $RETRIEVAL_BENCH_DATA or data)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    parser.set_defaults(handler=run, wrong=parser.error)


def _add_leaderboard(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        subparsers,
        "leaderboard",
        "make the tables from the results",
        "One table for each data set and way of measuring, or, with --paper, a paper's own tables with our numbers "
        "in them.",
        "retrieval-bench leaderboard --paper abir --format md --output abir.md",
    )
    parser.add_argument(
        "--format",
        choices=["md", "csv", "tex", "html"],
        help="default: after --output's ending; drawn on a terminal, md in a pipe",
    )
    parser.add_argument("--paper", metavar="KEY", help="the tables of this paper (results/papers/KEY.yaml)")
    parser.add_argument("--suite", metavar="SUITE", help="only results of this suite")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file")
    parser.set_defaults(handler=leaderboard)


def _add_regress(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        subparsers,
        "regress",
        "compare a suite's results with its baseline",
        "Exit status 1, with a table of what fell, if a metric is worse than the baseline by more than the "
        "tolerance that the baseline states, or a run is missing.",
        "retrieval-bench regress smoke",
    )
    parser.add_argument("suite", metavar="SUITE", help="a suite's file or name")
    parser.add_argument("--update", action="store_true", help="print the difference and make it the new baseline")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="FRACTION",
        help="with --update: how far a metric may fall (0.02: two points)",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.set_defaults(handler=regress)


def _command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, brief: str, text: str, example: str
) -> argparse.ArgumentParser:
    return subparsers.add_parser(name, help=brief, description=text, epilog=f"example: {example}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _console() -> "Console":
    """The terminal; in a log, which has no width of its own, tables are not folded."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200)


def run(arguments: argparse.Namespace) -> int:
    """Make the runs of a suite, then its leaderboard."""
    from retrieval_bench.bench.plan import data_folder, expand, select
    from retrieval_bench.bench.progress import Progress
    from retrieval_bench.bench.runner import run_all
    from retrieval_bench.bench.suite import find_suite, read_suite, with_options

    if arguments.suite is None:
        arguments.wrong(
            "SUITE is missing. Write it before the options, as in `retrieval-bench run cub --methods abir`: "
            "an option with several values takes every word after it"
        )
    suite = with_options(read_suite(find_suite(arguments.suite)), arguments.set)
    runs = select(
        expand(suite, output=arguments.output, data_dir=arguments.data_dir or data_folder()),
        datasets=arguments.datasets,
        methods=arguments.methods,
        variants=arguments.variants,
        seeds=arguments.seeds,
        limit=arguments.limit,
    )
    console = _console()
    if arguments.dry_run:
        return _dry_run(runs, arguments, console)
    progress = Progress(console)
    try:
        outcomes = run_all(runs, progress=progress)
    except KeyboardInterrupt:
        progress.close()
        progress.say(f"Interrupted; everything so far is kept. To go on: {_again(arguments)}")
        return INTERRUPTED
    _write_leaderboard(suite, arguments.output, console)
    return _summarize(outcomes, console)


def _again(arguments: argparse.Namespace, run: "Run | None" = None) -> str:
    """The command that goes on with a suite, or makes one of its runs."""
    chosen = {name: getattr(arguments, name) for name in ("datasets", "methods", "variants", "seeds")}
    if run is not None:
        one = run.id
        chosen = {"datasets": [one.dataset], "methods": [one.method], "variants": [one.variant or "full"]}
        chosen["seeds"] = [one.seed]
    words = ["retrieval-bench", "run", arguments.suite]
    for name, values in chosen.items():
        words += [f"--{name}", *map(str, values)] if values else []
    for assignment in arguments.set:
        words += ["--set", assignment]
    if arguments.limit is not None and run is None:
        words += ["--limit", str(arguments.limit)]
    if arguments.data_dir:
        words += ["--data-dir", str(arguments.data_dir)]
    if arguments.output != Path("results"):
        words += ["--output", str(arguments.output)]
    return shlex.join(words)


def _dry_run(runs: "Sequence[Run]", arguments: argparse.Namespace, console: "Console") -> int:
    from retrieval_bench.bench.runner import state
    from retrieval_bench.bench.tables import Cell, Column, Table
    from retrieval_bench.bench.terminal import show_table
    from retrieval_bench.bench.words import count

    columns = (Column("run", number=False), Column("state", number=False), Column("config", number=False))
    rows = tuple((Cell(r.id.name), Cell(state(r)), Cell(r.config_hash)) for r in runs)
    show_table(Table(count(len(runs), "run"), (), columns, rows), console)
    console.print("\nOne at a time, here or on another machine:")
    for one in runs:
        console.print(_again(arguments, one), soft_wrap=True, highlight=False, markup=False)
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
    from retrieval_bench.bench.leaderboard import leaderboard as make
    from retrieval_bench.bench.markdown import markdown
    from retrieval_bench.bench.papers import papers_folder, read_papers
    from retrieval_bench.bench.terminal import show

    page = make(
        _results(output, suite.name),
        papers=read_papers(papers_folder(output)),
        suites={suite.name: suite},
        title=f"Leaderboard of the suite {suite.name}",
    )
    path = output / "leaderboards" / f"{suite.name}.md"
    write_whole(path, markdown(page, path.parent))
    console.print()
    show(page, console)
    console.print(f"\nWritten to {path}", soft_wrap=True, highlight=False, markup=False)


def leaderboard(arguments: argparse.Namespace) -> int:
    """Make the tables and print or write them."""
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.files import write_whole
    from retrieval_bench.bench.formats import FORMATS
    from retrieval_bench.bench.terminal import show

    target: Path | None = arguments.output
    chosen: str | None = arguments.format or (target.suffix[1:] if target else None)
    if target and chosen not in FORMATS:
        raise BenchError(f"--output {target}: no format ends in {target.suffix!r}; name one with --format")
    page = _page(arguments)
    if target:
        write_whole(target, FORMATS[chosen or "md"](page, target.parent))
    elif chosen is None and sys.stdout.isatty():
        show(page, _console())
    else:
        sys.stdout.write(FORMATS[chosen or "md"](page, Path()))
    return 0


def _page(arguments: argparse.Namespace) -> "Page":
    from retrieval_bench.bench.leaderboard import leaderboard as make
    from retrieval_bench.bench.paper_tables import paper_page
    from retrieval_bench.bench.papers import find_paper, papers_folder, read_papers
    from retrieval_bench.bench.suite import find_suite, known_suites

    suite = Path(arguments.suite).stem if arguments.suite else None
    results = _results(arguments.results, suite)
    if suite and not results:
        find_suite(arguments.suite)  # a wrong name rather than a suite nobody has run
    folder = papers_folder(arguments.results)
    papers = read_papers(folder)
    suites = known_suites({result.run.suite for result in results.values()})
    if arguments.paper:
        return paper_page(find_paper(papers, arguments.paper, folder), results, suites=suites)
    return make(results, papers=papers, suites=suites)


def regress(arguments: argparse.Namespace) -> int:
    """Compare a suite's results with its baseline, or make them the baseline."""
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.regression import (
        FAILING,
        TOLERANCE,
        compare,
        demand_all_runs,
        earlier_runs,
        findings_table,
        make_baseline,
        read_baseline,
        write_baseline,
    )
    from retrieval_bench.bench.suite import find_suite, known_suites
    from retrieval_bench.bench.summary import EARLIER
    from retrieval_bench.bench.terminal import show_table
    from retrieval_bench.bench.words import count

    console, suite = _console(), Path(arguments.suite).stem
    path = arguments.results / "baselines" / f"{suite}.json"
    if arguments.tolerance is not None and not arguments.update:
        raise BenchError("--tolerance is stated in the baseline; it can only be changed together with --update")
    if arguments.tolerance is not None and not 0 <= arguments.tolerance < 1:
        raise BenchError(
            f"--tolerance {arguments.tolerance:g}: expected a fraction from 0 to below 1; 0.02 is two points"
        )
    results = _results(arguments.results, suite)
    if not results and not path.is_file():
        find_suite(arguments.suite)  # a wrong name rather than a suite nobody has run
    old = read_baseline(path) if path.is_file() or not arguments.update else None
    findings = compare(old, results) if old else []
    if earlier := earlier_runs(results, known_suites({suite})):
        console.print(
            f"{count(len(earlier), 'run')} {EARLIER} than the suite's of today ({', '.join(earlier)}); "
            f"`retrieval-bench run {suite}` renews what is to be compared.",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if arguments.update:
        if old:
            demand_all_runs(old, results, path)
        kept = old.tolerance if old else TOLERANCE
        new = make_baseline(suite, results, kept if arguments.tolerance is None else arguments.tolerance)
        show_table(findings_table("Before and after", findings or compare(new, results)), console)
        write_baseline(path, new)
        console.print(
            f"Written to {path}: {count(len(new.runs), 'run')}", soft_wrap=True, highlight=False, markup=False
        )
        return 0
    assert old is not None
    fell = [finding for finding in findings if finding.verdict in FAILING]
    others = [finding for finding in findings if finding.verdict in {"better", "new"}]
    limit = f"tolerance {100 * old.tolerance:.1f} points"
    if fell:
        show_table(findings_table(f"Suite {suite} fell below its baseline ({limit})", fell), console)
    if others:
        title = f"Not in the baseline {path}, or better; --update takes it over"
        show_table(findings_table(title, others), console)
    if not fell:
        held = count(len(old.runs), "run")
        console.print(f"Suite {suite} holds its baseline: {held} ({limit}).", highlight=False)
    return 1 if fell else 0


def _results(folder: Path, suite: str | None) -> "dict[Path, Result]":
    """The results below a folder, none if no run has been made yet."""
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.results import read_results

    if not folder.is_dir():
        raise BenchError(f"there is no folder {folder} to read results from; `retrieval-bench run SUITE` makes one")
    place = folder / "runs" / suite if suite else folder / "runs"
    return read_results(place) if place.is_dir() else {}
