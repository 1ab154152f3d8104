"""``plot``: draw a metric against an option, a cost or epochs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.bench.files import write_whole
from retrieval_bench.commands.drawing import PictureError
from retrieval_bench.commands.parsing import Subparsers, add_results, command

if TYPE_CHECKING:
    from retrieval_bench.bench.chart import Chart
    from retrieval_bench.pictures.curves import Panel


def add(commands: Subparsers) -> None:
    """Add ``plot``."""
    parser = command(
        commands,
        "plot",
        help="draw a metric against an option, a cost or epochs",
        description="Draw results of suites: one curve for each group of settings that differ in one option alone, or "
        "for each setting against epochs. Settings of the same method and protocol without that option are lines "
        "across the chart. Against a cost, such as bytes_per_image, a curve is along the option that it follows from. "
        "Settings that lack a seed are left out, and named.",
        example="retrieval-bench plot cub_hash --metric map --against bits --output bits.png",
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
        help="epoch; an option's dotted name or the end of it: bits for model.init_args.bits; or a cost, as in "
        "result.json: bytes_per_image",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the PNG, SVG or PDF to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the points, too, as they are drawn")
    add_results(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw the chart, write its points where asked to, and say what it does not show."""
    from retrieval_bench.bench.chart import chart_csv
    from retrieval_bench.bench.curves import read_chart
    from retrieval_bench.pictures.curves import CHART_FORMATS, draw_panels, save_chart

    if options.output.suffix.lower() not in CHART_FORMATS:
        raise PictureError(f"--output must end in one of {', '.join(CHART_FORMATS)}, not {options.output.name!r}")
    chart = read_chart(options.suites, metric=options.metric, against=options.against, folder=options.results)
    figure = draw_panels(
        {title: _panel(chart, title) for title in chart.panels},
        x_label=chart.against.replace("_", " "),
        y_label=chart.y_label,
        note=chart.note,
        band=options.against == "epoch",
        logarithmic=chart.logarithmic,
        choices=chart.choices,
    )
    save_chart(figure, options.output)
    print(f"wrote {options.output}")
    if options.csv is not None:
        write_whole(options.csv, chart_csv(chart))
        print(f"wrote {options.csv}")
    if len(chart.values) == 1:
        print(f"{chart.against} is {chart.values[0]} wherever it is known: nothing varies with it")
    for reason in chart.left_out:
        print(f"left out {reason}")
    return 0


def _panel(chart: "Chart", title: str) -> "Panel":
    """What of a chart was measured in one way."""
    from retrieval_bench.pictures.curves import Level, Line, Panel

    lines = {}
    for curve in chart.curves:
        if curve.name.panel != title:
            continue
        known = [(chart.place(point.x), point.value) for point in curve.points if point.value]
        lines[curve.name.short] = Line(
            [(x, value.mean) for x, value in known],
            [value.std for _, value in known],
            [(chart.place(point.x), point.paper) for point in curve.points if point.paper is not None],
            curve.paper,
        )
    levels = {
        level.name.short: Level(level.point.value.mean, level.point.value.std, level.point.paper, level.beside)
        for level in chart.levels
        if level.point.value and level.name.panel == title
    }
    return Panel(lines, levels)
