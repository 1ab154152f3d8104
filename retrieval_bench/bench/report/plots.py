"""Charts as lines and marks in a picture of fixed size; the page's style sheet gives them their colours."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 560, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 22, 34, 50
COLOURS = 8
"""How many colours the style sheet has for curves."""

SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",  # disc
    "M-3.6-3.6h7.2v7.2h-7.2z",  # square
    "M0-4.8l4.6 8h-9.2z",  # triangle
    "M0-5l4.6 5l-4.6 5l-4.6-5z",  # diamond
    "M0 4.8l4.6-8h-9.2z",  # triangle, upside down
    "M-4.6-1.5h3.1v-3.1h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1z",  # plus
    "M-4.4-1.8l4.4-3.2l4.4 3.2l-1.7 5.4h-5.4z",  # pentagon
    "M-5 0l3.2-1.8l1.8-3.2l1.8 3.2l3.2 1.8l-3.2 1.8l-1.8 3.2l-1.8-3.2z",  # star
)
DASHES = ("none", "7 3", "2 3", "8 3 2 3", "12 4", "4 4", "1 4", "10 3 2 3 2 3")
_MARKED = 12  # marks on a curve, about

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What is measured.
        low: Where it starts.
        high: Where it ends.
        ticks: Values and how they are written.
        log: Whether each doubling takes the same room.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the start of the axis and 1 at its end."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Curve:
    """What one curve shows.

    Attributes:
        name: In the legend.
        points: (x, y) in the order of x.
        deviation: For each point how far it may lie off, None where that is unknown; empty if it is of all.
        published: (x, y) that a paper gives for the same.
        href: A page about it.
    """

    name: str
    points: tuple[Point, ...]
    deviation: tuple[float | None, ...] = ()
    published: tuple[Point, ...] = ()
    href: str | None = None


@dataclass(frozen=True)
class Spot:
    """One mark of a scatter chart.

    Attributes:
        at: (x, y).
        title: What it says when it is pointed at.
        kind: Its number, which ``dress`` gives a colour and a shape.
        full: Whether it is filled.
        label: A short text beside it.
    """

    at: Point
    title: str
    kind: int
    full: bool = True
    label: str = ""


@dataclass(frozen=True)
class Area:
    """What lies between a line of steps and zero.

    Attributes:
        kind: ``win`` or ``loss``.
        points: (x, y) of the steps, each level until the next; the last one is where it ends.
    """

    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Grid:
    """The numbers of a chart as a table: for all who do not see it, and for all who want to know exactly."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """A chart.

    Attributes:
        id: Unique in its page.
        title: What it shows.
        note: What else one must know to read it.
        x: The horizontal axis.
        y: The vertical axis.
        grid: Its numbers.
        curves: Its curves.
        spots: Its single marks.
        kinds: What the kinds of its marks are called.
        steps: The points of a line of steps, which no curve has.
        areas: Its areas.
        summary: What one sees, in a sentence.
    """

    id: str
    title: str
    note: str
    x: Axis
    y: Axis
    grid: Grid
    curves: tuple[Curve, ...] = ()
    spots: tuple[Spot, ...] = ()
    kinds: tuple[str, ...] = ()
    steps: tuple[Point, ...] = ()
    areas: tuple[Area, ...] = ()
    summary: str = ""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the drawing area."""
        return _LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def px(self, x: float) -> float:
        """The horizontal place of a value."""
        return round(_LEFT + self.x.share(x) * (WIDTH - _LEFT - _RIGHT), 1)

    def py(self, y: float) -> float:
        """The vertical place of a value."""
        return round(HEIGHT - _BOTTOM - self.y.share(y) * (HEIGHT - _TOP - _BOTTOM), 1)

    def line(self, points: Iterable[Point]) -> str:
        """A path through points."""
        return "M" + "L".join(f"{self.px(x)} {self.py(y)}" for x, y in points)

    def stairs(self, points: Sequence[Point]) -> str:
        """A path of steps: level until the next point, then up or down to it."""
        (x, y), *others = points
        return f"M{self.px(x)} {self.py(y)}" + "".join(f"H{self.px(a)}V{self.py(b)}" for a, b in others)

    def marked(self, curve: Curve) -> tuple[tuple[int, Point], ...]:
        """Some points of a curve with their numbers: all of a short one."""
        every = max(1, round(len(curve.points) / _MARKED))
        return tuple((i, point) for i, point in enumerate(curve.points) if i % every == 0)


def dress(kind: int) -> tuple[int, int]:
    """Colour and shape of a kind of marks; each shape comes in every colour before two kinds look the same."""
    return (kind + kind // COLOURS) % COLOURS, kind % COLOURS


def thinned(values: Sequence[Any], most: int = 200) -> list[Any]:
    """Of many values every second, third, ..., so that few enough are left; the last one always."""
    every = -(-len(values) // most)
    return list(values[::-1][::every][::-1]) if every > 1 else list(values)


def linear(values: Iterable[float], label: str, *, ceiling: float | None = None, tight: bool = False) -> Axis:
    """An axis over values with ticks at round numbers.

    Args:
        values: What it must hold; at least one.
        label: What they are.
        ceiling: No tick lies above it.
        tight: Whether it ends at the least and the greatest value, or at the next ticks.
    """
    known = list(values)
    low, high = min(known), max(known)
    span = (high - low) or max(abs(high), 1) * 0.1
    step = _round_step(span / 6)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if start == end:
        start, end = start - 1, end + 1
    end = end if ceiling is None else min(end, math.ceil(ceiling / step))
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple((i * step, f"{i * step:.{places}f}".replace("-", "−")) for i in range(start, end + 1))
    if tight and high > low:
        return Axis(label, low, high, tuple(tick for tick in ticks if low <= tick[0] <= high))
    return Axis(label, start * step, end * step, ticks)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def logarithmic(values: Iterable[float], label: str, *, ticks: Sequence[float] = ()) -> Axis:
    """An axis on which each doubling takes the same room.

    Args:
        values: What it must hold, all above 0.
        label: What they are.
        ticks: Where to write numbers; round ones if empty.
    """
    known = list(values)
    low, high = min(known) / 1.25, max(known) * 1.25
    chosen = list(ticks) or _round_values(low, high)
    return Axis(label, low, high, tuple((tick, f"{tick:g}" if tick < 1e6 else f"{tick:.0e}") for tick in chosen), True)


def _round_values(low: float, high: float) -> list[float]:
    """Round numbers between two others: powers of ten if there are some, else finer ones."""
    tens = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        inside = [factor * ten for ten in tens for factor in factors if low <= factor * ten <= high]
        if len(inside) > 2:
            break
    return inside


def chosen(values: Sequence[float], names: Sequence[str], label: str) -> Axis:
    """An axis with a tick at each value and some room at both ends."""
    room = 0.04 * ((values[-1] - values[0]) or 1)
    return Axis(label, values[0] - room, values[-1] + room, tuple(zip(values, names, strict=True)))
