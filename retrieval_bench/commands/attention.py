"""``attention``: draw where a trained method looks."""

import argparse

from retrieval_bench.commands.drawing import PictureError, add_pictures_of_checkpoint, check_png, save_sheet
from retrieval_bench.commands.parsing import Subparsers, command


def add(commands: Subparsers) -> None:
    """Add ``attention``."""
    parser = command(
        commands,
        "attention",
        help="draw where a trained method looks",
        description="Draw the attention of a trained method over pictures, one row a picture: one column a block, "
        "or, for regional attention, what its regions weigh.",
        example="retrieval-bench attention --checkpoint "
        "results/runs/smoke/cub/abir/s0/checkpoints/last.ckpt --output attention.png bird.jpg",
    )
    add_pictures_of_checkpoint(parser, checkpoint="a checkpoint that training wrote")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw the attention maps, or the weighed regions, of pictures."""
    from retrieval_bench.training.attended import attention_drawn
    from retrieval_bench.training.checkpoints import load_method

    check_png("--output", options.output)
    sheets = attention_drawn(load_method(options.checkpoint), options.images)
    if not sheets:
        raise PictureError(f"the method in {options.checkpoint} has no attention to draw")
    (sheet,) = sheets.values()
    save_sheet(sheet, options.output)
    return 0
