"""Curves in one chart, told apart by their dashes, marks and names as well as by their colours."""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Points = Sequence[tuple[float, float]]
_Dashes = tuple[float, tuple[float, ...]]
CHART_FORMATS = (".pdf", ".png", ".svg")

_INCHES, _PANEL_INCHES, _DPI = (6.4, 4.4), (5.2, 4.6), 200
_COLUMNS = 2
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (10, 3)))
_LEVEL_DASHES = ((0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<")
_GREY, _GRID = "#555555", "#E4E4E4"
_SMALL, _USUAL, _LARGE = 8, 9, 11  # of letters, in points
_MARKED = 10  # marks on a curve, about
_NAMED = 10  # values of x that each have a tick
_LETTERS = 92  # that fit into a line of names
_TITLE_LETTERS = 11  # that fit into an inch of a heading


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


@dataclass(frozen=True)
class Level:
    """One y all across a chart.

    Attributes:
        y: Where.
        deviation: How far it may lie off, None if that is unknown.
        published: The y that another source gives for the same.
        beside: The curve whose colour it has; grey if there is none of this name.
    """

    y: float
    deviation: float | None = None
    published: float | None = None
    beside: str | None = None


@dataclass(frozen=True)
class Panel:
    """What one of several drawing areas shows: lines and levels by name; one name looks the same in all of them."""

    lines: Mapping[str, Line]
    levels: Mapping[str, Level] = field(default_factory=dict)


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


def draw_lines(lines: Mapping[str, Line], *, title: str, x_label: str, y_label: str) -> "Figure":
    """Curves as a figure of one panel.

    Args:
        lines: By name.
        title: The heading.
        x_label: What x is.
        y_label: What y is.

    Raises:
        ValueError: If there is no curve.
    """
    return draw_panels({title: Panel(lines)}, x_label=x_label, y_label=y_label)


def draw_panels(
    panels: Mapping[str, Panel],
    *,
    x_label: str,
    y_label: str,
    note: str = "",
    band: bool = False,
    logarithmic: bool = False,
    choices: Sequence[str] = (),
) -> "Figure":
    """Curves as a figure, its panels side by side on the same scales.

    Args:
        panels: By their headings.
        x_label: What x is.
        y_label: What y is.
        note: What else a reader must know, in small letters below the first heading.
        band: Whether deviations are a band along the curve, or a bar at each point.
        logarithmic: Whether each doubling of x takes the same room; 0 then stands where the next smaller x would.
        choices: Where x is no number: its names, for x = 0, 1, ...

    Raises:
        ValueError: If there is no curve.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(name for panel in panels.values() for name in panel.lines))
    if not names:
        raise ValueError("a chart needs at least one curve")
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    width, height = _INCHES if len(panels) == 1 else (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows)
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    x = {x for panel in panels.values() for line in panel.lines.values() for x, _ in (*line.points, *line.published)}
    dashes = _level_dashes(panels)
    handles: dict[str, Line2D] = {}
    first: Axes | None = None
    for i, (title, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1, sharex=first, sharey=first)
        first = first or axes
        for name, line in panel.lines.items():
            handles[name] = _draw(axes, line, names.index(name), len(names), band=band)
        for number, (name, level) in enumerate(panel.levels.items()):
            colour = _COLOURS[names.index(level.beside) % len(_COLOURS)] if level.beside in names else _GREY
            handles[name] = _draw_level(axes, level, number, colour, dashes[name])
        _draw_published(axes, panel.lines)
        _set_axes(axes, x, logarithmic=logarithmic, choices=choices)
        axes.set_xlabel(x_label, fontsize=_USUAL)
        axes.set_ylabel(y_label if i % columns == 0 else "", fontsize=_USUAL)
        heading = "\n".join(textwrap.wrap(title, int(_TITLE_LETTERS * width / columns)))
        axes.set_title(heading, loc="left", fontsize=_LARGE, pad=20 if note else 8)
        if i == 0:
            axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=_SMALL, color=_GREY)
    for name, handle in handles.items():
        handle.set_label("\n".join(textwrap.wrap(name, _LETTERS)))
    shown = [handles[name] for name in (*names, *dashes)]
    published = [line.published for panel in panels.values() for line in panel.lines.values()]
    if any(published) or any(level.published for panel in panels.values() for level in panel.levels.values()):
        shown.append(Line2D([], [], color=_GREY, marker="x", markersize=7, linestyle="none", label="paper"))
    _add_legend(figure, shown)
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


def _add_legend(figure: "Figure", handles: Sequence["Line2D"]) -> None:
    letters = int(_LETTERS * figure.get_figwidth() / _INCHES[0])
    longest = max(len(text) for handle in handles for text in str(handle.get_label()).split("\n"))
    columns = max(1, min(len(handles), letters // (longest + 8)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=_USUAL, frameon=False, handlelength=3.2
    )


def _level_dashes(panels: Mapping[str, Panel]) -> dict[str, _Dashes]:
    """The dashes of each level: they differ where the colour does not."""
    beside = {name: level.beside for panel in panels.values() for name, level in panel.levels.items()}
    places = {name: [other for other in beside if beside[other] == beside[name]].index(name) for name in beside}
    return {name: _LEVEL_DASHES[place % len(_LEVEL_DASHES)] for name, place in places.items()}


def _draw(axes: "Axes", line: Line, number: int, of: int, *, band: bool) -> "Line2D":
    """Draw a curve with its deviations and published values; returns what stands in the legend."""
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
        _draw_crosses(axes, a, b, colour)
    return drawn


def _draw_level(axes: "Axes", level: Level, number: int, colour: str, dashes: _Dashes) -> "Line2D":
    """Draw a line across the chart, with its deviation at its end; returns what stands in the legend."""
    if level.deviation is not None:
        axes.errorbar(
            1.012 + 0.018 * number,  # right of the chart: there it hides nothing, and no other level's
            level.y,
            yerr=level.deviation,
            fmt="none",
            ecolor=colour,
            elinewidth=1,
            capsize=3,
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )
    if level.published is not None:
        axes.axhline(level.published, color=colour, linestyle=dashes, linewidth=0.8, zorder=1.5)
        _draw_crosses(axes, [0.985], [level.published], colour, transform=axes.get_yaxis_transform())
    return axes.axhline(level.y, color=colour, linestyle=dashes, linewidth=1.4, zorder=1.5)


def _draw_crosses(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, **options: Any) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=4, foreground="white")]
    axes.scatter(x, y, s=55, color=colour, marker="x", linewidths=1.8, zorder=4, path_effects=halo, **options)


def _draw_published(axes: "Axes", lines: Mapping[str, Line]) -> None:
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


def _set_axes(axes: "Axes", x: set[float], *, logarithmic: bool, choices: Sequence[str]) -> None:
    """Scale and ticks of x: each value where they are few, else round numbers."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    if logarithmic:
        _scale_by_ratios(axes, sorted(x))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if choices:
        axes.set_xticks(range(len(choices)), choices)
        if max(map(len, choices)) > _LETTERS // len(choices):
            for label in axes.get_xticklabels():
                label.set(rotation=20, ha="right", rotation_mode="anchor")
    elif len(x) <= _NAMED:
        axes.set_xticks(sorted(x), _written(sorted(x)))
    elif not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(value == int(value) for value in x)))
    axes.tick_params(labelsize=_USUAL, colors=_GREY, length=3)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)


def _scale_by_ratios(axes: "Axes", x: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    if x[0] > 0:
        axes.set_xscale("log", base=2)
        return
    # Beyond the least number above 0 this scale is logarithmic; down to 0 it is linear, and takes twice its linscale.
    doublings = math.log2(x[-1] / x[1])
    step = doublings / (len(x) - 2)
    axes.set_xscale("symlog", base=2, linthresh=x[1], linscale=step / 2)
    axes.xaxis.set_minor_locator(NullLocator())
    margin = 0.05 * (doublings + step)
    axes.set_xlim(-x[1] * margin / step, x[-1] * 2**margin)


def _written(values: Sequence[float]) -> list[str]:
    """Numbers for ticks, all of them with powers of ten if one is very small."""
    if all(value == 0 or abs(value) >= 1e-3 for value in values):
        return [f"{value:g}" for value in values]
    parts = [f"{value:e}".split("e") for value in values]
    powers = [f"10^{{{int(exponent)}}}" for _, exponent in parts]
    factors = ["" if float(digits) == 1 else rf"{float(digits):g} \cdot " for digits, _ in parts]
    return [f"${f}{p}$" if v else "0" for v, f, p in zip(values, factors, powers, strict=True)]
