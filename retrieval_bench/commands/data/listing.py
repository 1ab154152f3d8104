"""``data list``: show all data sets."""

import argparse
import json
from pathlib import Path
from typing import Any

from retrieval_bench.commands.data.columns import ROLES, align
from retrieval_bench.commands.data.folders import find_dataset
from retrieval_bench.commands.data.parsing import add_json, data_command
from retrieval_bench.commands.parsing import Subparsers
from retrieval_bench.datasets import DATASETS


def add(commands: Subparsers) -> None:
    """Add ``list``."""
    parser = data_command(commands, "list", "show all data sets, their sizes, and which are here")
    parser.add_argument("--root", type=Path, help="the folder of all data sets (default: data or RETRIEVAL_BENCH_DATA)")
    add_json(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Print every data set with its published size and whether it is here."""
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.cards import load_card

    rows: list[dict[str, Any]] = []
    for name in DATASETS:
        card = load_card(name)
        here = find_dataset(name, options.root if options.root is not None else default_root(name))
        if here is not None and here.missing_parts():
            here = None
        rows.append(
            {
                "name": name,
                "title": card.title,
                "download": card.download,
                "protocols": card.counts,
                "root": str(here.root) if here else None,
            }
        )
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    table: list[tuple[str, ...]] = [("name", "protocol", *ROLES, "download", "here")]
    for row in rows:
        for protocol, counts in row["protocols"].items():
            sizes = (_size(counts.get(role)) for role in ROLES)
            table.append((row["name"], protocol, *sizes, row["download"], row["root"] or "-"))
    print(align(table))
    print("\nPublished images/classes of each role. `retrieval-bench data info NAME` counts what is here.")
    return 0


def _size(numbers: dict[str, int] | None) -> str:
    return f"{numbers['images']:,}/{numbers['classes']:,}" if numbers else "-"
