"""``data subset``: cut a small data set out of a large one."""

import argparse
from pathlib import Path

from retrieval_bench.commands.data.folders import refuse_foreign
from retrieval_bench.commands.data.parsing import data_command
from retrieval_bench.commands.parsing import Subparsers, add_name, add_root, chosen_root, positive


def add(commands: Subparsers) -> None:
    """Add ``subset``."""
    parser = data_command(
        commands,
        "subset",
        "cut a small data set of the same layout out of a large one",
        example="cub --root data/cub --to data/cub_small --classes 20 --images-per-class 10",
    )
    add_name(parser)
    add_root(parser)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="an empty folder, or one to be made")
    parser.add_argument("--classes", type=positive, required=True, metavar="N", help="how many classes to keep")
    parser.add_argument(
        "--images-per-class", type=positive, required=True, metavar="M", help="how many images of each to keep at most"
    )
    parser.add_argument("--seed", type=int, default=0, help="which classes and images are drawn (default: 0)")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Cut a subset."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.subset import cut_subset

    dataset = dataset_class(options.name)(chosen_root(options))
    refuse_foreign(options.to)
    target = cut_subset(dataset, options.to, classes=options.classes, images_per_class=options.images_per_class, seed=options.seed)
    print(f"{options.name}: {target}")
    return 0
