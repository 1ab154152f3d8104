"""``report``: write the results as a folder of static pages."""

import argparse
from pathlib import Path

from retrieval_bench.commands.parsing import Subparsers, add_data_dir, add_results, command


def add(commands: Subparsers) -> None:
    """Add ``report``."""
    parser = command(
        commands,
        "report",
        help="write the results as a folder of static pages",
        description="Write one folder that opens from disk: leaderboards with sorting and filters, charts, ranked "
        "results, settings against each other, and behind every number its run. An earlier report is replaced.",
        example="retrieval-bench report --output results/report",
    )
    add_results(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the report's folder (default: report in the folder of results)"
    )
    add_data_dir(parser, ", for pictures", default="where the runs found them")
    parser.add_argument("--suite", metavar="SUITE", help="only results of this suite")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from retrieval_bench.bench.papers import papers_folder, read_papers
    from retrieval_bench.bench.report.site import Sources, write_report
    from retrieval_bench.bench.suite import find_suite, known_suites
    from retrieval_bench.bench.words import count
    from retrieval_bench.commands.tables import make_console, results_below

    suite = Path(options.suite).stem if options.suite else None
    results = results_below(options.results, suite)
    if suite and not results:
        find_suite(options.suite)  # a wrong name rather than a suite nobody has run
    output = options.output or options.results / "report"
    sources = Sources(
        results=results,
        papers=read_papers(papers_folder(options.results)),
        suites=known_suites({result.run.suite for result in results.values()}),
        data=options.data_dir,
    )
    pages = write_report(sources, output)
    make_console().print(
        f"{count(pages, 'page')} from {count(len(results), 'result')}; open {output / 'index.html'}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    return 0
