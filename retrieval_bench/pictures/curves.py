"""Curves in one chart, told apart by their dashes, marks and names as well as by their colours."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
    lines = {name: Line(points) for name, points in curves.items()}
    stream = io.BytesIO()
    draw_lines(lines, title=title, x_label=x_label, y_label=y_label).savefig(stream, format="png")
    return Image.open(stream).convert("RGB")


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
        handles.append(_draw(axes, line, i, len(lines), band=band))
        handles[-1].set_label("\n".join(textwrap.wrap(name, _LETTERS)))
    if any(line.published for line in lines.values()):
        handles.append(Line2D([], [], color=_GREY, marker="x", markersize=7, linestyle="none", label="paper"))
    _draw_levels(axes, lines)
    _set_axes(
        axes, {x for line in lines.values() for x, _ in (*line.points, *line.published)}, log2=log2, choices=choices
    )
    axes.set_xlabel(x_label, fontsize=_USUAL)
    axes.set_ylabel(y_label, fontsize=_USUAL)
    axes.set_title(title, loc="left", fontsize=_LARGE, pad=20 if note else 8)
    axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=_SMALL, color=_GREY)
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


def _draw(axes: "Axes", line: Line, number: int, of: int, *, band: bool) -> "Line2D":
    """Draw a curve with its deviations and published values; returns what stands in the legend."""
    from matplotlib.patheffects import withStroke

    colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    mark = _MARKS[number % len(_MARKS)]
    x, y = ([point[i] for point in line.points] for i in (0, 1))
    every = max(1, round(len(x) / _MARKED))
    marked = (number * every // of, every)  # beside the marks of other curves, not on them
    (drawn,) = axes.plot(
        x, y, color=colour, linestyle=dashes, linewidth=1.8, marker=mark, markersize=5, markevery=marked
    )
    known = [(a, b, c) for a, b, c in zip(x, y, line.deviation or [None] * len(x), strict=True) if c is not None]
    if known and band:
        low, high = [b - c for _, b, c in known], [b + c for _, b, c in known]
        axes.fill_between([a for a, _, _ in known], low, high, color=colour, alpha=0.15, linewidth=0)
    elif known:
        a, b, c = zip(*known, strict=True)
        axes.errorbar(a, b, yerr=c, fmt="none", ecolor=colour, elinewidth=1, capsize=3)
    if line.published:
        a, b = zip(*line.published, strict=True)
        axes.plot(a, b, color=colour, linestyle=dashes, linewidth=0.8)
        halo = [withStroke(linewidth=4, foreground="white")]
        axes.scatter(a, b, s=55, color=colour, marker="x", linewidths=1.8, zorder=4, path_effects=halo)
    return drawn


def _draw_levels(axes: "Axes", lines: Mapping[str, Line]) -> None:
    """A dashed line across the chart at each published level, with its name above it."""
    levels: dict[float, list[str]] = {}
    for name, line in lines.items():
        if line.level is not None:
            levels.setdefault(line.level, []).append(name)
    for level, names in levels.items():
        text = "paper" if len(lines) == 1 else f"paper: {', '.join(names)}"
        axes.axhline(level, color=_GREY, linewidth=1, linestyle=(0, (5, 4)), zorder=1)
        axes.annotate(
            text,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            fontsize=_SMALL,
            color=_GREY,
        )


def _set_axes(axes: "Axes", x: set[float], *, log2: bool, choices: Sequence[str]) -> None:
    """Scale and ticks of x: each value where they are few, else round numbers."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    if log2:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if choices:
        axes.set_xticks(range(len(choices)), choices)
        if max(map(len, choices)) > _LETTERS // len(choices):
            for label in axes.get_xticklabels():
                label.set(rotation=20, ha="right", rotation_mode="anchor")
    elif len(x) <= _NAMED:
        axes.set_xticks(sorted(x), [f"{value:g}" for value in sorted(x)])
    elif not log2:
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(value == int(value) for value in x)))
    axes.tick_params(labelsize=_USUAL, colors=_GREY, length=3)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
