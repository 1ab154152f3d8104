"""``data``: what data sets there are, what a folder holds, and how to get one; its commands, one module each."""

from retrieval_bench.commands.data import download, info, listing, subset, synthesize, verify
from retrieval_bench.commands.parsing import Subparsers, command

COMMANDS = (listing, info, download, verify, synthesize, subset)


def add(commands: Subparsers) -> None:
    """Add ``data`` and its commands."""
    parser = command(
        commands,
        "data",
        help="list, inspect, fetch, check, synthesize and cut data sets",
        description="Data sets in their original folder layouts.",
        example="retrieval-bench data info cub --root data/cub",
    )
    data_commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(data_commands)
