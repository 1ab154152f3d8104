"""What the parsers of the ``data`` commands share."""

import argparse

from retrieval_bench.commands.parsing import Subparsers, command


def data_command(
    commands: Subparsers, name: str, summary: str, *, example: str = "", more: str = ""
) -> argparse.ArgumentParser:
    """Add a command of ``data``.

    Args:
        commands: Where to add it.
        name: What the user types.
        summary: Its line in the list of commands, and the first sentence of its description.
        example: The words that follow it in an example.
        more: The rest of its description.
    """
    return command(
        commands,
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        example=f"retrieval-bench data {name} {example}".strip(),
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs to read")
