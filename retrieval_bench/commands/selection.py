"""Which runs of a suite a command is about: the options that ``run`` and ``submit`` share."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.parsing import add_data_dir, positive

if TYPE_CHECKING:
    from retrieval_bench.bench.plan import Run
    from retrieval_bench.bench.suite import Suite

USAGE = (
    "%(prog)s SUITE [--datasets KEY ...] [--methods NAME ...] [--variants NAME ...] [--seeds N ...]\n"
    "       [--set OPTION=VALUE] [--limit N] [--data-dir DIR] [--output DIR]"
)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the suite, the filters, and where data and results are.

    Args:
        parser: Where to add them.
    """
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
    parser.add_argument("--limit", type=positive, metavar="N", help="at most this many runs")
    add_data_dir(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    parser.set_defaults(wrong=parser.error)


def chosen(options: argparse.Namespace) -> "tuple[Suite, list[Run]]":
    """The suite with the options set over it, and those of its runs that the filters keep.

    Raises:
        SuiteError: If there is no such suite, or it lacks what a filter names.
    """
    from retrieval_bench.bench.plan import data_folder, expand, select
    from retrieval_bench.bench.suite import find_suite, read_suite, with_options

    if options.suite is None:
        options.wrong(
            "SUITE is missing. Write it before the options, as in `retrieval-bench run cub --methods abir`: "
            "an option with several values takes every word after it"
        )
    suite = with_options(read_suite(find_suite(options.suite)), options.set)
    runs = select(
        expand(suite, output=options.output, data_dir=options.data_dir or data_folder()),
        datasets=options.datasets,
        methods=options.methods,
        variants=options.variants,
        seeds=options.seeds,
        limit=options.limit,
    )
    return suite, runs


def again(options: argparse.Namespace, run: "Run | None" = None) -> str:
    """The ``run`` command that goes on with a selection, or makes one run of it, as a shell takes it.

    Args:
        options: The selection.
        run: The one run; all of the selection if None.
    """
    filters = {name: getattr(options, name) for name in ("datasets", "methods", "variants", "seeds")}
    if run is not None:
        one = run.id
        filters = {"datasets": [one.dataset], "methods": [one.method], "variants": [one.variant or "full"]}
        filters["seeds"] = [one.seed]
    words = ["retrieval-bench", "run", options.suite]
    for name, values in filters.items():
        words += [f"--{name}", *map(str, values)] if values else []
    for assignment in options.set:
        words += ["--set", assignment]
    if options.limit is not None and run is None:
        words += ["--limit", str(options.limit)]
    if options.data_dir:
        words += ["--data-dir", str(options.data_dir)]
    if options.output != Path("results"):
        words += ["--output", str(options.output)]
    return shlex.join(words)
