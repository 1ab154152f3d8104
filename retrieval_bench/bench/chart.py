"""What a plot shows: curves of points, levels beside them, and on which axis they stand."""

import csv
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from retrieval_bench.bench.summary import Spread
from retrieval_bench.bench.sweeps import are_numbers

_LONG = 16
"""How many times the smallest x the largest is, at least, on a logarithmic axis."""


@dataclass(frozen=True)
class CurvePoint:
    """One point; metrics are percentages.

    Attributes:
        x: The option's value, the cost or the epoch.
        value: Mean and deviation over the seeds, None where the setting is not complete.
        seeds: How many.
        paper: The published number of the same setting.
    """

    x: Any
    value: Spread | None
    seeds: int
    paper: float | None = None


@dataclass(frozen=True)
class CurveName:
    """What a curve is called: in the whole chart, and in the panel of all that was measured in the same way."""

    whole: str
    short: str
    panel: str


@dataclass(frozen=True)
class ResultCurve:
    """A curve; ``paper`` is one published number for all of it, where x is no option."""

    name: CurveName
    points: tuple[CurvePoint, ...]
    paper: float | None = None


@dataclass(frozen=True)
class ResultLevel:
    """A setting without x, the same all across a panel.

    Attributes:
        name: The setting's.
        point: What was measured; its x is None.
        beside: The short name of the one curve that it belongs to, None if it stands beside several.
    """

    name: CurveName
    point: CurvePoint
    beside: str | None


@dataclass(frozen=True)
class Chart:
    """What a plot shows.

    Attributes:
        note: What a point stands for.
        metric: The metric, as it was asked for.
        y_label: The metric, as a person reads it.
        against: The option or cost, or ``epoch``.
        curves: Best first.
        left_out: Sentences on the settings that are not in it.
        levels: Settings without x.
    """

    note: str
    metric: str
    y_label: str
    against: str
    curves: tuple[ResultCurve, ...]
    left_out: tuple[str, ...]
    levels: tuple[ResultLevel, ...] = ()

    @property
    def panels(self) -> list[str]:
        """The headings of what was measured in one way each."""
        return list(dict.fromkeys(curve.name.panel for curve in self.curves))

    @property
    def values(self) -> list[Any]:
        """Every x once, numbers by size, all else by name."""
        return in_order({point.x for curve in self.curves for point in curve.points})

    @property
    def numeric(self) -> bool:
        """Whether x is a number, or one of several choices."""
        return are_numbers(self.values)

    @property
    def logarithmic(self) -> bool:
        """Whether x reaches from small to large numbers that lie more evenly by their ratios; 0 may be among them."""
        if not self.numeric or self.values[0] < 0:
            return False
        above = [x for x in self.values if x > 0]
        if len(above) < 2 or above[-1] < _LONG * above[0]:
            return False
        return _evenness([math.log(x) for x in above]) > _evenness(self.values)

    @property
    def choices(self) -> list[str]:
        """The names of what x may be where it is no number; of a file its own, without folder and ending."""
        if self.numeric:
            return []
        names = ["none" if x is None else str(x) for x in self.values]
        return [PurePath(name).stem if "/" in name else name for name in names]

    def place(self, x: Any) -> float:
        """Where x stands on its axis: choices are at 0, 1, ..."""
        return float(x) if self.numeric else float(self.values.index(x))


def chart_csv(chart: Chart) -> str:
    """The points of a chart, one a line, as drawn; an empty field is a missing number, an empty x that of a level."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("curve", "metric", "against", "x", "mean", "std", "seeds", "paper"))

    def write(name: str, x: Any, point: CurvePoint, paper: float | None) -> None:
        value = (point.value.mean, point.value.std) if point.value else (None, None)
        mean, std, printed = ("" if number is None else f"{number:.10g}" for number in (*value, paper))
        writer.writerow((name, chart.metric, chart.against, x, mean, std, point.seeds, printed))

    for curve in chart.curves:
        for point in curve.points:
            x = f"{point.x:.10g}" if chart.numeric else "none" if point.x is None else point.x
            write(curve.name.whole, x, point, curve.paper if point.paper is None else point.paper)
    for level in chart.levels:
        write(level.name.whole, "", level.point, level.point.paper)
    return stream.getvalue()


def in_order(values: Collection[Any]) -> list[Any]:
    """Numbers by size, all else by name."""
    return sorted(values, key=float if are_numbers(values) else str)


def _evenness(values: Sequence[float]) -> float:
    """The share that the narrowest gap has of the whole."""
    return min(after - before for before, after in pairwise(values)) / (values[-1] - values[0])
