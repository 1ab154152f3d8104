"""``region-precision``: measure how much of each region lies in the queries' boxes."""

import argparse
import json
from pathlib import Path

from retrieval_bench.bench.files import write_whole
from retrieval_bench.commands.drawing import LANDMARKS, add_png, check_png, save_sheet
from retrieval_bench.commands.parsing import Subparsers, command


def add(commands: Subparsers) -> None:
    """Add ``region-precision``."""
    parser = command(
        commands,
        "region-precision",
        help="measure how much of each region lies in the queries' boxes",
        description="Draw which share of the regions of all queries' pictures lies in the query's box by at least how "
        "much, one curve a checkpoint, and write the numbers to a JSON file beside the picture.",
        example="retrieval-bench region-precision oxford5k paris6k --output precision.png --checkpoints "
        "results/runs/oxford5k/oxford5k/{cluster_mac,rmac}/s0/checkpoints/last.ckpt",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=LANDMARKS, help=f"of {', '.join(LANDMARKS)}")
    parser.add_argument(
        "--checkpoints", required=True, nargs="+", type=Path, metavar="FILE", help="of ClusterMAC and R-MAC"
    )
    add_png(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder of the data sets")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw one curve a checkpoint, and write the numbers."""
    import torch

    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.nn.region_precision import share_at_least
    from retrieval_bench.pictures.curves import curve_chart
    from retrieval_bench.training.checkpoints import load_method
    from retrieval_bench.training.inspection import landmarks, region_precisions

    check_png("--output", options.output)
    roots = {name: options.data_dir / name if options.data_dir else default_root(name) for name in options.names}
    datasets = [landmarks(name, root) for name, root in roots.items()]
    thresholds = [i / 100 for i in range(101)]
    curves, numbers = {}, {}
    for checkpoint in options.checkpoints:
        method = load_method(checkpoint)
        precision = torch.cat([region_precisions(method, dataset) for dataset in datasets])
        share = share_at_least(precision, thresholds)
        curves[f"{type(method).__name__}, {len(precision):,} regions: {checkpoint}"] = list(
            zip(thresholds, share, strict=True)
        )
        numbers[str(checkpoint)] = {"method": type(method).__name__, "regions": len(precision), "share": share}
    chart = curve_chart(
        curves,
        title=f"Precision of regions, {', '.join(options.names)}",
        x_label="precision: share of a region that lies in the query's box",
        y_label="share of regions at least so precise",
    )
    save_sheet(chart, options.output)
    data = options.output.with_suffix(".json")
    write_whole(data, json.dumps({"thresholds": thresholds, "checkpoints": numbers}, indent=1))
    print(f"wrote {data}")
    return 0
