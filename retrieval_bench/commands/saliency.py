"""``saliency``: find the salient box of every picture of a data set."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.drawing import check_png, save_sheet
from retrieval_bench.commands.parsing import (
    Subparsers,
    add_name,
    add_root,
    add_workers,
    chosen_root,
    chosen_workers,
    command,
)

if TYPE_CHECKING:
    from PIL import Image

    from retrieval_bench.datamodules.saliency import SaliencySettings
    from retrieval_bench.datasets.base import RetrievalDataset
    from retrieval_bench.nn.saliency import SaliencyNetwork

PICTURES_DRAWN = 6


def add(commands: Subparsers) -> None:
    """Add ``saliency``."""
    parser = command(
        commands,
        "saliency",
        help="find the salient box of every picture of a data set",
        description="Write the box around what a frozen ImageNet network responds to in each picture, one file each "
        "alpha. Methods crop pictures to such a file. What Ctrl-C cuts short goes on with the same command.",
        example="retrieval-bench saliency cub --alpha 0.2 0.4 0.6 --picture saliency.png",
    )
    add_name(parser)
    add_root(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("data/saliency"), metavar="DIR", help="where to (default: data/saliency)"
    )
    parser.add_argument(
        "--network",
        default="inception_v3",
        help="inception_v3 (default), inception_resnet_v2 (needs timm) or any trunk, such as resnet18 or mobilenet_v2",
    )
    parser.add_argument(
        "--weights", default="imagenet", help="imagenet (default), none (random) or the file of a state dict"
    )
    parser.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        default=[0.4],
        metavar="SHARE",
        help="what is brighter than this share of white is salient (default: 0.4)",
    )
    parser.add_argument(
        "--merge", choices=["mean", "max", "sum"], default="mean", help="channels into one (default: mean)"
    )
    parser.add_argument(
        "--component", choices=["all", "largest"], default="all", help="of what is salient (default: all)"
    )
    parser.add_argument(
        "--size", type=int, default=299, metavar="PIXELS", help="side of the network's pictures (default: 299)"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once (default: 16)")
    add_workers(parser)
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help=f"a PNG to draw, with maps and boxes of {PICTURES_DRAWN} pictures"
    )
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Write the boxes of a data set, and a picture of some of them."""
    from retrieval_bench.commands.counting import counting
    from retrieval_bench.datamodules.saliency import SaliencySettings, make_boxes
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.nn.saliency import SaliencyNetwork

    if options.picture is not None:
        check_png("--picture", options.picture)
    dataset = dataset_class(options.name)(chosen_root(options))
    settings = SaliencySettings(
        alphas=tuple(options.alpha),
        merge=options.merge,
        component=options.component,
        side=options.size,
    )
    network = SaliencyNetwork(options.network, options.weights)
    with counting(options.name) as count:
        files = make_boxes(
            network,
            dataset,
            options.output,
            settings,
            batch_size=options.batch_size,
            num_workers=chosen_workers(options),
            progress=count.show,
        )
    for file in files:
        print(f"the boxes are in {file}" if count.shown else f"complete already: {file}")
    if options.picture is not None:
        save_sheet(_saliency_sheet(network, dataset, settings), options.picture)
    return 0


def _saliency_sheet(
    network: "SaliencyNetwork", dataset: "RetrievalDataset", settings: "SaliencySettings"
) -> "Image.Image":
    """Maps and boxes of pictures spread evenly over a data set."""
    import numpy as np

    from retrieval_bench.datamodules.saliency import saliences
    from retrieval_bench.datasets.images import open_rgb
    from retrieval_bench.pictures.saliency import SaliencyRow, saliency_sheet

    paths = dataset.table.path
    chosen = [paths[i * len(paths) // PICTURES_DRAWN] for i in range(min(PICTURES_DRAWN, len(paths)))]
    return saliency_sheet(
        [
            SaliencyRow(
                np.asarray(open_rgb(dataset.root / seen.path)),
                seen.grey.numpy(),
                {f"alpha {alpha}": seen.box(alpha, settings.component).box for alpha in settings.alphas},
            )
            for batch in saliences(network, dataset.root, chosen, settings)
            for seen in batch
        ]
    )
