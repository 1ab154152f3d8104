"""``data download``: fetch a data set."""

import argparse
import sys

from retrieval_bench.commands.data.folders import find_dataset, refuse_foreign
from retrieval_bench.commands.data.parsing import data_command
from retrieval_bench.commands.parsing import Subparsers, add_name, add_root, chosen_root


def add(commands: Subparsers) -> None:
    """Add ``download``."""
    parser = data_command(
        commands,
        "download",
        "fetch a data set, or explain why it cannot be fetched",
        example="cub --root data/cub",
        more="An interrupted download is taken up where it stopped; archives are checked before they are unpacked.",
    )
    add_name(parser)
    add_root(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Fetch a data set into its folder."""
    from retrieval_bench.datasets.cards import load_card
    from retrieval_bench.datasets.download import download

    card = load_card(options.name)
    root = chosen_root(options)
    if find_dataset(options.name, root) is None:  # a half-fetched archive may lie there already
        refuse_foreign(root, allowed={x.file + end for x in card.archives for end in ("", ".part")})
    download(options.name, root, progress=_show_bytes if sys.stderr.isatty() else None)
    print(f"{card.title} is in {root}; `retrieval-bench data verify {options.name} --root {root}` looks through it")
    return 0


def _show_bytes(done: int, total: int | None) -> None:
    of = f" of {total / 2**20:,.0f}" if total else ""
    print(f"\r{done / 2**20:,.0f}{of} MiB", end="\n" if done == total else "", file=sys.stderr, flush=True)
