"""``proposals``: find where objects may be in every picture of a data set."""

import argparse
from pathlib import Path

from retrieval_bench.commands.parsing import (
    Subparsers,
    add_name,
    add_root,
    add_workers,
    chosen_root,
    chosen_workers,
    command,
)


def add(commands: Subparsers) -> None:
    """Add ``proposals``."""
    parser = command(
        commands,
        "proposals",
        help="find the region proposals of every picture of a data set",
        description="Write the boxes that a trained RPN proposes in each picture. UDQ looks at them instead of a grid "
        "where model.init_args.proposals names the file or its folder. What Ctrl-C cuts short goes on with the same "
        "command.",
        example="retrieval-bench proposals oxford5k --checkpoint rpn.ckpt --output data/proposals/vgg16",
    )
    add_name(parser)
    add_root(parser)
    parser.add_argument(
        "--checkpoint", required=True, type=Path, metavar="FILE", help="of RPN, trained by `retrieval-bench fit`"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/proposals"), metavar="DIR", help="where to (default: data/proposals)"
    )
    add_workers(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Write the proposals of a data set."""
    from retrieval_bench.commands.counting import counting
    from retrieval_bench.datamodules.proposals import make_proposals
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.methods import RPN
    from retrieval_bench.nn.preprocessing import MinSide
    from retrieval_bench.training.checkpoints import load_network

    dataset = dataset_class(options.name)(chosen_root(options))
    trained = load_network(options.checkpoint, RPN)
    resize = trained.preprocessing.resize
    assert isinstance(resize, MinSide)
    with counting(options.name) as count:
        file = make_proposals(
            trained.network,
            dataset,
            options.output,
            resize,
            trained.preprocessing.family,
            learned_from=trained.learned_from,
            num_workers=chosen_workers(options),
            progress=count.show,
        )
    print(f"the proposals are in {file}" if count.shown else f"complete already: {file}")
    return 0
