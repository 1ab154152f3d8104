"""``data verify``: compare a folder with the published facts."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from retrieval_bench.commands.data.parsing import add_json, data_command
from retrieval_bench.commands.parsing import Subparsers, add_name, add_root, chosen_root

if TYPE_CHECKING:
    from retrieval_bench.datasets.verify import Difference

FILES_SHOWN = 5


def add(commands: Subparsers) -> None:
    """Add ``verify``."""
    parser = data_command(
        commands,
        "verify",
        "compare a folder with the published facts and explain every difference",
        example="cub --root data/cub",
        more="Decodes every picture, which takes minutes for the large sets. Exit code 1 if anything differs.",
    )
    add_name(parser)
    add_root(parser)
    add_json(parser)
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="look that every picture is there, without decoding it")
    depth.add_argument("--no-images", action="store_true", help="compare the annotation files alone")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Print every difference between a folder and the card."""
    from retrieval_bench.datasets.verify import verify

    root = chosen_root(options)
    show = _show_progress if sys.stderr.isatty() and not options.json else None
    differences = verify(options.name, root, images=not options.no_images, quick=options.quick, progress=show)
    if options.json:
        print(
            json.dumps(
                {"name": options.name, "root": str(root), "differences": [asdict(x) for x in differences]}, indent=2
            )
        )
    elif differences:
        print("\n\n".join(_describe(x) for x in differences))
    else:
        print(f"{options.name} in {root} is what its card says")
    return 1 if differences else 0


def _describe(difference: "Difference") -> str:
    shown = [f"  {file}" for file in difference.files[:FILES_SHOWN]]
    hidden = len(difference.files) - len(shown)
    more = [f"  and {hidden:,} more; --json lists them all"] if hidden > 0 else []
    return "\n".join([f"{difference.kind}: {difference.what}", *shown, *more, f"  -> {difference.todo}"])


def _show_progress(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} pictures", end="\n" if done == total else "", file=sys.stderr, flush=True)
