"""``compare``: is one setting better than another, or is it noise?"""

import argparse
import json

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.commands.parsing import Subparsers, add_data_dir, add_results, command
from retrieval_bench.commands.tables import make_console


def add(commands: Subparsers) -> None:
    """Add ``compare``."""
    parser = command(
        commands,
        "compare",
        help="say whether one setting is better than another, or the difference is noise",
        description="Compare two settings, or two runs, query by query: the difference of their means with its 95 % "
        "interval, a permutation test, and the queries that one of them wins. A setting counts with all its seeds.",
        example="retrieval-bench compare cub_hash_part/cub/adaptive_triplet-adaptive_64 "
        "cub_hash_part/cub/adaptive_triplet-triplet_64 --metric map",
    )
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=f"RUN_{name.upper()}",
            help="SUITE/DATASET/SETTING for all seeds, or with /s0 for one; or the path of either's folder",
        )
    parser.add_argument("--metric", metavar="NAME", help="as in result.json (default: the protocol's main metric)")
    add_results(parser)
    add_data_dir(parser, ", for the paths of pictures")
    parser.add_argument("--json", action="store_true", help="print JSON, metrics as fractions")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Compare, and print what was found."""
    from retrieval_bench.bench.compare import compare, result_files
    from retrieval_bench.bench.comparison_page import comparison_data, comparison_page
    from retrieval_bench.bench.data_at_hand import dataset_at_hand
    from retrieval_bench.bench.terminal import show

    a, b = (result_files(run, options.results) for run in (options.a, options.b))
    comparison = compare(a, b, options.metric)
    first = comparison.results[0][0]
    dataset = dataset_at_hand(first, options.data_dir)
    if dataset is None and options.data_dir is not None:
        raise BenchError(
            f"{options.data_dir} has no folder {first.run.dataset} with the pictures that this was measured on; "
            "without --data-dir they are named by their rows"
        )
    paths = dataset.table.path if dataset else None
    if options.json:
        print(json.dumps(comparison_data(comparison, paths), indent=2))
    else:
        show(comparison_page(comparison, paths), make_console())
    return 0
