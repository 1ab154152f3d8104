"""Curves in one chart, told apart by their dashes, marks and names as well as by their colours."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]
CHART_FORMATS = (".pdf", ".png", ".svg")

_INCHES, _DPI = (6.4, 4.4), 200
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (10, 3)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<")
_GREY, _GRID = "#555555", "#E4E4E4"
_SMALL, _USUAL, _LARGE = 8, 9, 11  # of letters, in points
_MARKED = 10  # marks on a curve, about
_NAMED = 10  # values of x that each have a tick
_LETTERS = 92  # that fit into a line of names


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        points: (x, y) in the order of x.
        deviation: For each point how far it may lie off, None where that is unknown; empty if it is of all.
        published: (x, y) that another source gives for the same.
        level: One y that another source gives for the whole of it.
    """

    points: Points
    deviation: Sequence[float | None] = ()
    published: Points = ()
    level: float | None = None


def curve_chart(curves: Mapping[str, Points], *, title: str, x_label: str, y_label: str) -> Image.Image:
    """Curves as a picture.

    Args:
        curves: By name, points in the order of x.
        title: The heading.
        x_label: What x is.
        y_label: What y is.

    Raises:
        ValueError: If there is no curve.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    lines = {name: Line(points) for name, points in curves.items()}
    canvas = FigureCanvasAgg(draw_lines(lines, title=title, x_label=x_label, y_label=y_label))
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw_lines(
    lines: Mapping[str, Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    note: str = "",
    band: bool = False,
    log2: bool = False,
    choices: Sequence[str] = (),
) -> "Figure":
    """Curves as a figure.

    Args:
        lines: By name.
        title: The heading.
        x_label: What x is.
        y_label: What y is.
        note: What else a reader must know, in small letters below the heading.
        band: Whether deviations are a band along the curve, or a bar at each point.
        log2: Whether each doubling of x takes the same room.
        choices: Where x is no number: its names, for x = 0, 1, ...

    Raises:
        ValueError: If there is no curve.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not lines:
        raise ValueError("a chart needs at least one curve")
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    handles = []
    for i, (name, line) in enumerate(lines.items()):
        style = {"color": _COLOURS[i % len(_COLOURS)], "linestyle": _DASHES[i % len(_DASHES)]}
        handles.append(_draw(axes, line, style, _MARKS[i % len(_MARKS)], band=band))
        handles[-1].set_label("\n".join(textwrap.wrap(name, _LETTERS)))
    if any(line.published for line in lines.values()):
        handles.append(Line2D([], [], color=_GREY, marker="x", markersize=7, linestyle="none", label="paper"))
    _draw_levels(axes, lines)
    _dress(axes, title, note, x_label, y_label)
    _set_ticks(axes, {x for line in lines.values() for x, _ in (*line.points, *line.published)}, log2, choices)
    if log2:
        axes.set_xscale("log", base=2)
    longest = max(len(text) for handle in handles for text in str(handle.get_label()).split("\n"))
    columns = max(1, min(len(handles), _LETTERS // (longest + 8)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=_USUAL, frameon=False, handlelength=3.2
    )
    return figure


def save_chart(figure: "Figure", file: Path) -> None:
    """Write a figure, whole or not at all.

    Args:
        figure: The figure.
        file: One that ends in one of ``CHART_FORMATS``; its folder is made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    figure.savefig(partial, format=file.suffix[1:].lower())
    partial.replace(file)
