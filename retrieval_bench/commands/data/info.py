"""``data info``: show what a data set holds."""

import argparse
import json
from typing import Any

from retrieval_bench.commands.data.columns import ROLES, align
from retrieval_bench.commands.data.folders import find_dataset
from retrieval_bench.commands.data.parsing import add_json, data_command
from retrieval_bench.commands.parsing import Subparsers, add_name, add_root, chosen_root


def add(commands: Subparsers) -> None:
    """Add ``info``."""
    parser = data_command(
        commands,
        "info",
        "show images and classes of each role, for every protocol, beside the published numbers",
        example="cub --root data/cub --json",
        more="Reads annotation files only; pictures are not needed.",
    )
    add_name(parser)
    add_root(parser)
    add_json(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Print counted and published images and classes of each role, for every protocol."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.cards import load_card

    kind, card = dataset_class(options.name), load_card(options.name)
    root = chosen_root(options)
    # A folder that was named must hold the data set; the default one need not exist to show the published facts.
    found = kind(root) if options.root is not None else find_dataset(options.name, root)
    read = {p.name: kind(found.root, p.name) for p in kind.protocols} if found else {}
    facts: dict[str, Any] = {
        "name": card.key,
        "title": card.title,
        "root": str(found.root) if found else None,
        "counts": {name: each.table.counts() for name, each in read.items()} or None,
        "published": card.counts,
        "editions": {name: each.protocol.edition for name, each in read.items()} or None,
        "protocol_fingerprints": {name: each.protocol.fingerprint for name, each in read.items()} or None,
        "data_fingerprints": {name: each.table.fingerprint for name, each in read.items()} or None,
        "homepage": card.homepage,
        "terms": card.terms,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    where = facts["root"] or f"not in {root}; published numbers only. {card.how_to_get()}"
    print(f"{card.title} ({card.key})\n{card.homepage}\nterms: {card.terms}\nfolder: {where}\n")
    table: list[tuple[str, ...]] = [
        ("protocol", "role", "images", "classes", "published images", "published classes", "edition")
    ]
    for protocol, published in card.counts.items():
        counted = read[protocol].table.counts() if read else {}
        for role in ROLES:
            numbers = (_number(side.get(role), what) for side in (counted, published) for what in ("images", "classes"))
            table.append((protocol, role, *numbers, read[protocol].protocol.edition if read else "-"))
    print(align(table))
    return 0


def _number(numbers: dict[str, int] | None, what: str) -> str:
    return f"{numbers[what]:,}" if numbers else "-"
