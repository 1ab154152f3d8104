"""``data synthesize``: write a miniature."""

import argparse
from pathlib import Path

from retrieval_bench.commands.data.parsing import data_command
from retrieval_bench.commands.parsing import Subparsers, add_name
from retrieval_bench.datasets import DATASETS


def add(commands: Subparsers) -> None:
    """Add ``synthesize``."""
    parser = data_command(
        commands,
        "synthesize",
        "write a miniature with drawn pictures, in the data set's true layout",
        example="all --root data/miniature",
        more="The same seed writes the same files. A miniature that is already there is kept.",
    )
    add_name(parser, "or `all`, which writes each into its own folder inside --root")
    parser.add_argument("--root", type=Path, required=True, help="the folder to write into, empty or not there yet")
    parser.add_argument("--seed", type=int, default=0, help="which miniature to draw (default: 0)")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Write one miniature, or all of them."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.miniature import synthesize

    every = options.name == "all"
    for name in DATASETS if every else [options.name]:
        dataset_class(name)  # an unknown name fails with the list of known ones
        root = options.root / name if every else options.root
        print(f"{name}: {synthesize(name, root, seed=options.seed)}")
    return 0
