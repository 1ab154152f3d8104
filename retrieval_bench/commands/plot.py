"""``plot``: draw a metric against an option or against epochs."""

import argparse
from pathlib import Path

from retrieval_bench.bench.files import write_whole
from retrieval_bench.commands.drawing import PictureError
from retrieval_bench.commands.parsing import Subparsers, add_results, command


def add(commands: Subparsers) -> None:
    """Add ``plot``."""
    parser = command(
        commands,
        "plot",
        help="draw a metric against an option or against epochs",
        description="Draw results of suites: one curve for each group of settings that differ in one option alone, or "
        "for each setting against epochs. Settings that lack a seed are left out, and named.",
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
        help="epoch, or an option's dotted name or the end of it: bits for model.init_args.bits",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the PNG, SVG or PDF to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the points, too, as they are drawn")
    add_results(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw the chart, write its points where asked to, and name what is left out."""
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
