"""The ``data`` commands: what data sets there are, what a folder holds, and how to get one."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.datasets import DATASETS

if TYPE_CHECKING:  # numpy, PIL and the rest load when a command runs, not when help is printed
    from retrieval_bench.datasets.base import RetrievalDataset
    from retrieval_bench.datasets.verify import Difference

ROLES = ("train", "query", "gallery")
FILES_SHOWN = 5
ROOT_HELP = "the data set's folder (default: data/NAME, or NAME inside RETRIEVAL_BENCH_DATA)"


def add_data_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``data`` and its commands; each sets ``handler``, a function from the arguments to the exit code."""
    data = subparsers.add_parser(
        "data",
        help="list, inspect, fetch, check, synthesize and cut data sets",
        description="Data sets in their original folder layouts.",
        epilog="example: retrieval-bench data info cub --root data/cub",
    )
    commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = _add(commands, "list", run_list, "show all data sets, their sizes, and which are here", "")
    listing.add_argument(
        "--root", type=Path, help="the folder of all data sets (default: data or RETRIEVAL_BENCH_DATA)"
    )
    _add_json(listing)

    info = _add(
        commands,
        "info",
        run_info,
        "show images and classes of each role, for every protocol, beside the published numbers",
        "cub --root data/cub --json",
        more="Reads annotation files only; pictures are not needed.",
    )
    _add_name(info)
    _add_root(info)
    _add_json(info)

    download = _add(
        commands,
        "download",
        run_download,
        "fetch a data set, or explain why it cannot be fetched",
        "cub --root data/cub",
        more="An interrupted download is taken up where it stopped; archives are checked before they are unpacked.",
    )
    _add_name(download)
    _add_root(download)

    check = _add(
        commands,
        "verify",
        run_verify,
        "compare a folder with the published facts and explain every difference",
        "cub --root data/cub",
        more="Decodes every picture, which takes minutes for the large sets. Exit code 1 if anything differs.",
    )
    _add_name(check)
    _add_root(check)
    _add_json(check)
    depth = check.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="look that every picture is there, without decoding it")
    depth.add_argument("--no-images", action="store_true", help="compare the annotation files alone")

    synthesize = _add(
        commands,
        "synthesize",
        run_synthesize,
        "write a miniature with drawn pictures, in the data set's true layout",
        "all --root data/miniature",
        more="The same seed writes the same files. A miniature that is already there is kept.",
    )
    _add_name(synthesize, "or `all`, which writes each into its own folder inside --root")
    synthesize.add_argument("--root", type=Path, required=True, help="the folder to write into, empty or not there yet")
    synthesize.add_argument("--seed", type=int, default=0, help="which miniature to draw (default: 0)")

    subset = _add(
        commands,
        "subset",
        run_subset,
        "cut a small data set of the same layout out of a large one",
        "cub --root data/cub --to data/cub_small --classes 20 --images-per-class 10",
    )
    _add_name(subset)
    _add_root(subset)
    subset.add_argument("--to", type=Path, required=True, metavar="DIR", help="an empty folder, or one to be made")
    subset.add_argument("--classes", type=_positive, required=True, metavar="N", help="how many classes to keep")
    subset.add_argument(
        "--images-per-class", type=_positive, required=True, metavar="M", help="how many images of each to keep at most"
    )
    subset.add_argument("--seed", type=int, default=0, help="which classes and images are drawn (default: 0)")


def run_list(args: argparse.Namespace) -> int:
    """Print every data set with its published size and whether it is here."""
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.cards import load_card

    rows: list[dict[str, Any]] = []
    for name in DATASETS:
        card = load_card(name)
        here = _find(name, args.root if args.root is not None else default_root(name))
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
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    table: list[tuple[str, ...]] = [("name", "protocol", *ROLES, "download", "here")]
    for row in rows:
        for protocol, counts in row["protocols"].items():
            sizes = (_size(counts.get(role)) for role in ROLES)
            table.append((row["name"], protocol, *sizes, row["download"], row["root"] or "-"))
    print(_align(table))
    print("\nPublished images/classes of each role. `retrieval-bench data info NAME` counts what is here.")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print counted and published images and classes of each role, for every protocol."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.cards import load_card

    kind, card = dataset_class(args.name), load_card(args.name)
    root = args.root if args.root is not None else default_root(args.name)
    # A folder that was named must hold the data set; the default one need not exist to show the published facts.
    found = kind(root) if args.root is not None else _find(args.name, root)
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
    if args.json:
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
    print(_align(table))
    return 0


def run_download(args: argparse.Namespace) -> int:
    """Fetch a data set into its folder."""
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.cards import load_card
    from retrieval_bench.datasets.download import download

    card = load_card(args.name)
    root = args.root if args.root is not None else default_root(args.name)
    if _find(args.name, root) is None:  # a half-fetched archive may lie there already
        _refuse_foreign(root, allowed={x.file + end for x in card.archives for end in ("", ".part")})
    download(args.name, root, progress=_show_bytes if sys.stderr.isatty() else None)
    print(f"{card.title} is in {root}; `retrieval-bench data verify {args.name} --root {root}` looks through it")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Print every difference between a folder and the card."""
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.verify import verify

    root = args.root if args.root is not None else default_root(args.name)
    show = _show_progress if sys.stderr.isatty() and not args.json else None
    differences = verify(args.name, root, images=not args.no_images, quick=args.quick, progress=show)
    if args.json:
        print(
            json.dumps(
                {"name": args.name, "root": str(root), "differences": [asdict(x) for x in differences]}, indent=2
            )
        )
    elif differences:
        print("\n\n".join(_describe(x) for x in differences))
    else:
        print(f"{args.name} in {root} is what its card says")
    return 1 if differences else 0


def run_synthesize(args: argparse.Namespace) -> int:
    """Write one miniature, or all of them."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.miniature import synthesize

    every = args.name == "all"
    for name in DATASETS if every else [args.name]:
        dataset_class(name)  # an unknown name fails with the list of known ones
        root = args.root / name if every else args.root
        print(f"{name}: {synthesize(name, root, seed=args.seed)}")
    return 0


def run_subset(args: argparse.Namespace) -> int:
    """Cut a subset."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.datasets.subset import cut_subset

    dataset = dataset_class(args.name)(args.root if args.root is not None else default_root(args.name))
    _refuse_foreign(args.to)
    target = cut_subset(dataset, args.to, classes=args.classes, images_per_class=args.images_per_class, seed=args.seed)
    print(f"{args.name}: {target}")
    return 0


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    handler: Any,
    summary: str,
    example: str,
    more: str = "",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        epilog=f"example: retrieval-bench data {name} {example}".strip(),
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_name(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(DATASETS)} {more}".strip())


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="DIR", help=ROOT_HELP)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs to read")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _find(name: str, root: Path) -> "RetrievalDataset | None":
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.errors import DatasetNotFoundError

    try:
        return dataset_class(name)(root)
    except DatasetNotFoundError:
        return None


def _refuse_foreign(folder: Path, allowed: Iterable[str] = ()) -> None:
    """Stop before anything is written among files that are not ours."""
    from retrieval_bench.datasets.errors import DataError

    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder to write into")
    if not folder.exists():
        return
    strangers = sorted({entry.name for entry in os.scandir(folder)} - set(allowed))
    if strangers:
        raise DataError(
            f"{folder} is not empty (it holds {strangers[0]}"
            f"{f' and {len(strangers) - 1} more' if len(strangers) > 1 else ''}); name an empty folder or a new one"
        )


def _describe(difference: "Difference") -> str:
    shown = [f"  {file}" for file in difference.files[:FILES_SHOWN]]
    hidden = len(difference.files) - len(shown)
    more = [f"  and {hidden:,} more; --json lists them all"] if hidden > 0 else []
    return "\n".join([f"{difference.kind}: {difference.what}", *shown, *more, f"  -> {difference.todo}"])


def _show_progress(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} pictures", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _show_bytes(done: int, total: int | None) -> None:
    of = f" of {total / 2**20:,.0f}" if total else ""
    print(f"\r{done / 2**20:,.0f}{of} MiB", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _size(numbers: dict[str, int] | None) -> str:
    return f"{numbers['images']:,}/{numbers['classes']:,}" if numbers else "-"


def _number(numbers: dict[str, int] | None, what: str) -> str:
    return f"{numbers[what]:,}" if numbers else "-"


def _align(table: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)
