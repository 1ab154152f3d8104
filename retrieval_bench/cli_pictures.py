"""Commands that draw: what a network attends to, finds salient, clusters and finds; and results as curves."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.bench.files import write_whole
from retrieval_bench.cli_data import ROOT_HELP
from retrieval_bench.datasets import DATASETS
from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    from PIL import Image

    from retrieval_bench.datamodules.saliency import SaliencySettings
    from retrieval_bench.datasets.base import RetrievalDataset
    from retrieval_bench.nn.saliency import SaliencyNetwork

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PICTURES_DRAWN = 6
LANDMARKS = ("oxford5k", "paris6k", "oxford105k", "paris106k", "roxford5k", "rparis6k")


class PictureError(RetrievalBenchError):
    """What was asked for cannot be drawn."""


def add_pictures_parser(commands: "Subparsers") -> None:
    """Add ``attention``, ``saliency``, ``clusters``, ``region-precision``, ``ranked`` and ``plot``."""
    _add_attention(commands)
    _add_saliency(commands)
    _add_clusters(commands)
    _add_region_precision(commands)
    _add_ranked(commands)
    _add_plot(commands)


def _add_attention(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "attention",
        help="draw where a trained method looks",
        description="Draw the attention of a trained method over pictures, one row a picture: one column a block, "
        "or, for regional attention, what its regions weigh.",
        epilog="Example: retrieval-bench attention --checkpoint "
        "results/runs/smoke/cub/abir/s0/checkpoints/last.ckpt --output attention.png bird.jpg",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures to look at")
    parser.add_argument("--checkpoint", required=True, type=Path, help="a checkpoint that training wrote")
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")
    parser.set_defaults(handler=_attention)


def _add_saliency(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "saliency",
        help="find the salient box of every picture of a data set",
        description="Write the box around what a frozen ImageNet network responds to in each picture, one file each "
        "alpha. Methods crop pictures to such a file. What Ctrl-C cuts short goes on with the same command.",
        epilog="Example: retrieval-bench saliency cub --alpha 0.2 0.4 0.6 --picture saliency.png",
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--root", type=Path, metavar="DIR", help=ROOT_HELP)
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
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode (default: cores, at most 8)")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help=f"a PNG to draw, with maps and boxes of {PICTURES_DRAWN} pictures"
    )
    parser.set_defaults(handler=_saliency)


def _add_clusters(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "clusters",
        help="draw the clusters of ClusterMAC over pictures",
        description="Draw for each picture how long the activations are, and the clusters of every cut.",
        epilog="Example: retrieval-bench clusters --checkpoint "
        "results/runs/oxford5k/oxford5k/cluster_mac/s0/checkpoints/last.ckpt --output clusters.png tower.jpg",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures to look at")
    parser.add_argument("--checkpoint", required=True, type=Path, help="a checkpoint of ClusterMAC")
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")
    parser.set_defaults(handler=_clusters)


def _add_region_precision(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "region-precision",
        help="measure how much of each region lies in the queries' boxes",
        description="Draw which share of the regions of all queries' pictures lies in the query's box by at least how "
        "much, one curve a checkpoint, and write the numbers to a JSON file beside the picture.",
        epilog="Example: retrieval-bench region-precision oxford5k paris6k --output precision.png --checkpoints "
        "results/runs/oxford5k/oxford5k/{cluster_mac,rmac}/s0/checkpoints/last.ckpt",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=LANDMARKS, help=f"of {', '.join(LANDMARKS)}")
    parser.add_argument(
        "--checkpoints", required=True, nargs="+", type=Path, metavar="FILE", help="of ClusterMAC and R-MAC"
    )
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder of the data sets")
    parser.set_defaults(handler=_region_precision)


def _add_ranked(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "ranked",
        help="draw what queries find, and what the ground truth says of it",
        description="Draw queries with their boxes and the first results of each, from descriptors that `predict` "
        "wrote; post-processing is not applied. Junk keeps its place.",
        epilog="Example: retrieval-bench ranked oxford5k --descriptors descriptors.npz --queries 0 5 --output top.png",
    )
    parser.add_argument("name", metavar="NAME", choices=LANDMARKS, help=f"one of {', '.join(LANDMARKS)}")
    parser.add_argument("--descriptors", required=True, type=Path, metavar="FILE", help="what `predict` wrote")
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")
    parser.add_argument("--queries", type=int, nargs="+", default=[0], metavar="N", help="counted from 0 (default: 0)")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="results of each (default: 10)")
    parser.add_argument("--root", type=Path, metavar="DIR", help=ROOT_HELP)
    parser.set_defaults(handler=_ranked)


def _add_plot(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "plot",
        help="draw a metric against an option or against epochs",
        description="Draw results of suites: one curve for each group of settings that differ in one option alone, or "
        "for each setting against epochs. Settings that lack a seed are left out, and named.",
        epilog="Example: retrieval-bench plot cub_hash --metric map --against bits --output bits.png",
    )
    parser.add_argument("suites", nargs="+", metavar="SUITE", help="a suite's file or name")
    parser.add_argument(
        "--metric",
        required=True,
        metavar="NAME",
        help="as in result.json: map, recall_at_1; against epochs also any logged column, such as train/gap",
    )
    parser.add_argument(
        "--against",
        required=True,
        metavar="OPTION",
        help="epoch, or an option's dotted name or the end of it: bits for model.init_args.bits",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the PNG, SVG or PDF to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the points, too, as they are drawn")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.set_defaults(handler=_plot)


def _attention(options: argparse.Namespace) -> int:
    import torch

    from retrieval_bench.datamodules.transforms import centre_window, resize_image
    from retrieval_bench.datasets.images import load_image
    from retrieval_bench.methods import RegionalAttention
    from retrieval_bench.nn.preprocessing import normalize
    from retrieval_bench.pictures.attention import attention_sheet
    from retrieval_bench.pictures.regions import region_sheet
    from retrieval_bench.training.attended import weighed
    from retrieval_bench.training.checkpoints import load_method

    _check_png("--output", options.output)
    method: Any = load_method(options.checkpoint)
    if isinstance(method, RegionalAttention):
        _save(region_sheet(weighed(method, options.images)), options.output)
        return 0
    if not getattr(method, "taps", None) or not hasattr(method, "attention_maps"):
        raise PictureError(f"the method in {options.checkpoint} has no attention to draw")
    resized = [resize_image(load_image(path), method.preprocessing.resize) for path in options.images]
    pictures = torch.stack([centre_window(x.shape[1], x.shape[2], method.preprocessing).cut(x) for x in resized])
    with torch.inference_mode():
        maps = method.attention_maps(normalize(pictures, method.preprocessing.family))
    sheet = attention_sheet(
        [p.permute(1, 2, 0).numpy() for p in pictures], {title: list(m.numpy()) for title, m in maps.items()}
    )
    _save(sheet, options.output)
    return 0


def _saliency(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from retrieval_bench.datamodules.saliency import SaliencySettings, make_boxes
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.nn.saliency import SaliencyNetwork

    if options.picture is not None:
        _check_png("--picture", options.picture)
    root = options.root if options.root is not None else default_root(options.name)
    dataset = dataset_class(options.name)(root)
    settings = SaliencySettings(
        alphas=tuple(options.alpha),
        merge=options.merge,
        component=options.component,
        side=options.size,
    )
    network = SaliencyNetwork(options.network, options.weights)
    workers = options.workers if options.workers is not None else min(8, os.cpu_count() or 1)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(options.name)

    def show(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        files = make_boxes(
            network,
            dataset,
            options.output,
            settings,
            batch_size=options.batch_size,
            num_workers=workers,
            progress=show,
        )
    finally:
        worked = bar.live.is_started
        if worked:
            bar.stop()
    for file in files:
        print(f"the boxes are in {file}" if worked else f"complete already: {file}")
    if options.picture is not None:
        _save(_saliency_sheet(network, dataset, settings), options.picture)
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


def _clusters(options: argparse.Namespace) -> int:
    from retrieval_bench.methods import ClusterMAC
    from retrieval_bench.pictures.clusters import cluster_sheet
    from retrieval_bench.training.checkpoints import load_method
    from retrieval_bench.training.inspection import clustered

    _check_png("--output", options.output)
    method = load_method(options.checkpoint)
    if not isinstance(method, ClusterMAC):
        raise PictureError(f"the method in {options.checkpoint} is {type(method).__name__}, which has no clusters")
    _save(cluster_sheet(clustered(method, options.images)), options.output)
    return 0


def _region_precision(options: argparse.Namespace) -> int:
    import json

    import torch

    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.nn.region_precision import share_at_least
    from retrieval_bench.pictures.curves import curve_chart
    from retrieval_bench.training.checkpoints import load_method
    from retrieval_bench.training.inspection import landmarks, region_precisions

    _check_png("--output", options.output)
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
    _save(chart, options.output)
    data = options.output.with_suffix(".json")
    write_whole(data, json.dumps({"thresholds": thresholds, "checkpoints": numbers}, indent=1))
    print(f"wrote {data}")
    return 0


def _ranked(options: argparse.Namespace) -> int:
    from zipfile import BadZipFile

    from retrieval_bench.datasets.base import default_root
    from retrieval_bench.pictures.ranked import ranked_sheet
    from retrieval_bench.retrieval.descriptors import Descriptors
    from retrieval_bench.training.inspection import landmarks, ranked

    _check_png("--output", options.output)
    if options.top < 1:
        raise PictureError(f"--top must be at least 1, not {options.top}")
    dataset = landmarks(options.name, options.root if options.root is not None else default_root(options.name))
    if wrong := [n for n in options.queries if not 0 <= n < len(dataset.truth.queries)]:
        raise PictureError(f"{options.name} has no query {wrong[0]}: they are 0 to {len(dataset.truth.queries) - 1}")
    try:
        descriptors = Descriptors.load(options.descriptors)
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise PictureError(
            f"{options.descriptors} is no file of descriptors ({error}): let `predict` write it"
        ) from error
    _save(ranked_sheet(ranked(dataset, descriptors, options.queries, options.top)), options.output)
    return 0


def _plot(options: argparse.Namespace) -> int:
    from retrieval_bench.bench.curves import chart_csv, read_chart
    from retrieval_bench.pictures.curves import CHART_FORMATS, Line, draw_lines, save_chart

    if options.output.suffix.lower() not in CHART_FORMATS:
        raise PictureError(f"--output must end in one of {', '.join(CHART_FORMATS)}, not {options.output.name!r}")
    chart = read_chart(options.suites, metric=options.metric, against=options.against, folder=options.results)
    lines = {}
    for curve in chart.curves:
        known = [(chart.place(point.x), point.value) for point in curve.points if point.value]
        lines[curve.name] = Line(
            [(x, value.mean) for x, value in known],
            [value.std for _, value in known],
            [(chart.place(point.x), point.paper) for point in curve.points if point.paper is not None],
            curve.paper,
        )
    figure = draw_lines(
        lines,
        title=chart.title,
        note=chart.note,
        x_label=chart.against.replace("_", " "),
        y_label=chart.y_label,
        band=options.against == "epoch",
        log2=chart.doubling,
        choices=chart.choices,
    )
    save_chart(figure, options.output)
    print(f"wrote {options.output}")
    if options.csv is not None:
        write_whole(options.csv, chart_csv(chart))
        print(f"wrote {options.csv}")
    for reason in chart.left_out:
        print(f"left out {reason}")
    return 0


def _check_png(option: str, file: Path) -> None:
    if file.suffix.lower() != ".png":
        raise PictureError(f"{option} must end in .png, not {file.name!r}")


def _save(sheet: "Image.Image", file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    sheet.save(partial, format="PNG")
    partial.replace(file)
    print(f"wrote {file}")
