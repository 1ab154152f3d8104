"""``regress``: compare a suite with its baseline."""

import argparse
from pathlib import Path

from retrieval_bench.commands.parsing import Subparsers, add_results, command
from retrieval_bench.commands.tables import make_console, results_below


def add(commands: Subparsers) -> None:
    """Add ``regress``."""
    parser = command(
        commands,
        "regress",
        help="compare a suite's results with its baseline",
        description="Exit status 1, with a table of what fell, if a metric is worse than the baseline by more than the "
        "tolerance that the baseline states, or a run is missing.",
        example="retrieval-bench regress smoke",
    )
    parser.add_argument("suite", metavar="SUITE", help="a suite's file or name")
    parser.add_argument("--update", action="store_true", help="print the difference and make it the new baseline")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="FRACTION",
        help="with --update: how far a metric may fall (0.02: two points)",
    )
    add_results(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
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

    console, suite = make_console(), Path(options.suite).stem
    path = options.results / "baselines" / f"{suite}.json"
    if options.tolerance is not None and not options.update:
        raise BenchError("--tolerance is stated in the baseline; it can only be changed together with --update")
    if options.tolerance is not None and not 0 <= options.tolerance < 1:
        raise BenchError(
            f"--tolerance {options.tolerance:g}: expected a fraction from 0 to below 1; 0.02 is two points"
        )
    results = results_below(options.results, suite)
    if not results and not path.is_file():
        find_suite(options.suite)  # a wrong name rather than a suite nobody has run
    old = read_baseline(path) if path.is_file() or not options.update else None
    findings = compare(old, results) if old else []
    if earlier := earlier_runs(results, known_suites({suite})):
        console.print(
            f"{count(len(earlier), 'run')} {EARLIER} than the suite's of today ({', '.join(earlier)}); "
            f"`retrieval-bench run {suite}` renews what is to be compared.",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if options.update:
        if old:
            demand_all_runs(old, results, path)
        kept = old.tolerance if old else TOLERANCE
        new = make_baseline(suite, results, kept if options.tolerance is None else options.tolerance)
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
