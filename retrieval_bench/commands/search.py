"""``search``: find what a picture, or a box in it, shows."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.drawing import check_png, save_sheet
from retrieval_bench.commands.index import add_run, build_own
from retrieval_bench.commands.parsing import Subparsers, command, positive

if TYPE_CHECKING:
    from PIL import Image

    from retrieval_bench.training.describing import Describer
    from retrieval_bench.training.index_store import PictureIndex
    from retrieval_bench.training.searching import Answer, Box

_MEASURES = {
    "dot": "similarity",
    "euclidean": "squared distance",
    "hamming": "differing bits",
    "adc": "asymmetric distance",
}


def add(commands: Subparsers) -> None:
    """Add ``search``."""
    parser = command(
        commands,
        "search",
        help="find what a picture shows among the pictures of an index",
        description="Describe a picture by the network of a finished run and rank the pictures of an index: the run's "
        "own gallery, which is indexed when it is searched first, or what `index build --to` made. The ranking is that "
        "of the run's evaluation, before post-processing. A box is used as the run's protocol uses those of its "
        "queries; where it uses none, the picture is cut to it first.",
        example="retrieval-bench search --run smoke/oxford5k/rmac/s0 --query tower.jpg --box 10 20 300 400 "
        "--output found.png",
    )
    add_run(parser)
    parser.add_argument("--query", required=True, type=Path, metavar="PICTURE", help="what to find")
    parser.add_argument(
        "--box",
        type=float,
        nargs=4,
        metavar=("X1", "Y1", "X2", "Y2"),
        help="where in the picture, in its pixels: left, upper, right and lower edge",
    )
    parser.add_argument("--index", type=Path, metavar="DIR", help="an index of other pictures than the run's own")
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="how many results (default: 10)")
    parser.add_argument("--output", type=Path, metavar="PNG", help="draw the query and what it finds, with boxes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Search, print and draw."""
    from retrieval_bench.training.describing import Describer
    from retrieval_bench.training.finished import open_run
    from retrieval_bench.training.searching import find

    if options.output is not None:
        check_png("--output", options.output)
    describer = Describer(open_run(options.run, options.results))
    index = _index(describer, options)
    box: Box | None = tuple(options.box) if options.box else None
    answer = find(describer, index, options.query, box, top=options.top)
    if options.json:
        print(json.dumps({"query": str(options.query), "box": box, "root": str(index.root), **asdict(answer)}))
    else:
        _print(answer, index)
    if options.output is not None:
        save_sheet(_sheet(answer, index, options.query, box), options.output)
    return 0


def _index(describer: "Describer", options: argparse.Namespace) -> "PictureIndex":
    from retrieval_bench.training.index_store import open_index, read_head
    from retrieval_bench.training.indexing import OWN

    if options.index is not None:
        return open_index(options.index, describer.maker)
    folder = describer.run.folder / OWN
    head = read_head(folder)
    if head is None or not head.generation:
        build_own(describer, options.data_dir)
    return open_index(folder, describer.maker)


def _print(answer: "Answer", index: "PictureIndex") -> None:
    measure = _MEASURES[answer.metric]
    for note in answer.notes:
        print(f"note: {note}")
    print(f"{len(answer.hits)} of {len(index.listed):,} pictures in {index.root}")
    print(f"rank  {measure}  picture")
    for rank, hit in enumerate(answer.hits, start=1):
        value = hit.score if answer.metric == "dot" else abs(hit.score)
        score = f"{value:.0f}" if answer.metric == "hamming" else f"{value:.4f}"
        box = "" if hit.box is None else "  " + " ".join(f"{value:.0f}" for value in hit.box)
        print(f"{rank:4}  {score:>{len(measure)}}  {hit.path}{box}")


def _sheet(answer: "Answer", index: "PictureIndex", query: Path, box: "Box | None") -> "Image.Image":
    import numpy as np

    from retrieval_bench.datasets.images import open_rgb
    from retrieval_bench.pictures.found import Shown, found_sheet

    results = [Shown(np.asarray(open_rgb(index.root / hit.path)), hit.box, Path(hit.path).name) for hit in answer.hits]
    return found_sheet(Shown(np.asarray(open_rgb(query)), box, query.name), results)
