"""What the parsers of several commands share."""

import argparse
import os
from pathlib import Path
from typing import TypeAlias

from retrieval_bench.datasets import DATASETS

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(commands: Subparsers, name: str, *, help: str, description: str, example: str) -> argparse.ArgumentParser:
    """Add a command whose help ends with an example.

    Args:
        commands: Where to add it.
        name: What the user types.
        help: Its line in the list of commands.
        description: What it does, in whole sentences.
        example: A line that can be typed as it stands.
    """
    return commands.add_parser(name, help=help, description=description, epilog=f"example: {example}")


def add_name(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add ``NAME``, a data set.

    Args:
        parser: Where to add it.
        more: What else it may be, for the help.
    """
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(DATASETS)} {more}".strip())


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add ``--root``, the folder of one data set."""
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the data set's folder (default: data/NAME, or NAME inside RETRIEVAL_BENCH_DATA)",
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--results``, the folder of results."""
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")


def add_data_dir(
    parser: "argparse._ActionsContainer", more: str = "", *, default: str = "$RETRIEVAL_BENCH_DATA or data"
) -> None:
    """Add ``--data-dir``, the folder of all data sets.

    Args:
        parser: Where to add it; a group of options, too.
        more: What it is for, for the help.
        default: What it is by itself, in words.
    """
    text = f"the data sets' folder{more} (default: {default})"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=text)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``, the processes that decode pictures."""
    parser.add_argument(
        "--workers", type=not_negative, metavar="N", help="processes that decode (default: cores, at most 8)"
    )


def chosen_workers(options: argparse.Namespace) -> int:
    """How many ``--workers`` asks for, or as many as there are cores, at most 8."""
    workers: int | None = options.workers
    return workers if workers is not None else min(8, os.cpu_count() or 1)


def chosen_root(options: argparse.Namespace) -> Path:
    """The folder that ``--root`` names, or the usual one of the data set ``name``."""
    from retrieval_bench.datasets.base import default_root

    root: Path | None = options.root
    return root if root is not None else default_root(options.name)


def not_negative(text: str) -> int:
    """A whole number from 0, for ``type=``."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1, for ``type=``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
