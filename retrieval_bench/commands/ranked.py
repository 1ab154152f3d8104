"""``ranked``: draw what queries find, and what the ground truth says of it."""

import argparse
from pathlib import Path

from retrieval_bench.commands.drawing import LANDMARKS, PictureError, add_png, check_png, save_sheet
from retrieval_bench.commands.parsing import Subparsers, add_root, chosen_root, command


def add(commands: Subparsers) -> None:
    """Add ``ranked``."""
    parser = command(
        commands,
        "ranked",
        help="draw what queries find, and what the ground truth says of it",
        description="Draw queries with their boxes and the first results of each, from descriptors that `predict` "
        "wrote; post-processing is not applied. Junk keeps its place.",
        example="retrieval-bench ranked oxford5k --descriptors descriptors.npz --queries 0 5 --output top.png",
    )
    parser.add_argument("name", metavar="NAME", choices=LANDMARKS, help=f"one of {', '.join(LANDMARKS)}")
    parser.add_argument("--descriptors", required=True, type=Path, metavar="FILE", help="what `predict` wrote")
    add_png(parser)
    parser.add_argument("--queries", type=int, nargs="+", default=[0], metavar="N", help="counted from 0 (default: 0)")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="results of each (default: 10)")
    add_root(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw the first results of some queries."""
    from retrieval_bench.bench.files import BROKEN_ARRAYS
    from retrieval_bench.pictures.ranked import ranked_sheet
    from retrieval_bench.retrieval.descriptors import load_sides
    from retrieval_bench.training.inspection import landmarks, ranked

    check_png("--output", options.output)
    if options.top < 1:
        raise PictureError(f"--top must be at least 1, not {options.top}")
    dataset = landmarks(options.name, chosen_root(options))
    if wrong := [n for n in options.queries if not 0 <= n < len(dataset.truth.queries)]:
        raise PictureError(f"{options.name} has no query {wrong[0]}: they are 0 to {len(dataset.truth.queries) - 1}")
    try:
        query, gallery = load_sides(options.descriptors)
    except BROKEN_ARRAYS as error:
        raise PictureError(
            f"{options.descriptors} is no file of descriptors ({error}): let `predict` write it"
        ) from error
    save_sheet(ranked_sheet(ranked(dataset, query, gallery, options.queries, options.top)), options.output)
    return 0
