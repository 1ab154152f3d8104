"""Products for the miniature of Stanford Online Products: furniture and kitchenware, every item its own design."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, hsv

STRATA = 10
_FINISHES = ("plain", "stripes", "hoops", "dots", "checks", "zigzag")


@dataclass(frozen=True)
class Item:
    """What tells an item from the others of its kind; ``width`` to ``detail`` are in [0, 1]."""

    kind: str
    width: float
    height: float
    taper: float
    legs: float
    detail: float
    main: c.Colour
    accent: c.Colour
    mark: c.Colour
    finish: str
    grain: float

    @classmethod
    def from_strata(cls, kind: str, row: list[float]) -> Item:
        """An item from numbers spread over [0, 1)."""
        hue = row[5]
        value = 0.35 + 0.55 * row[6]
        return cls(
            kind=kind,
            width=row[0],
            height=row[1],
            taper=row[2],
            legs=row[3],
            detail=row[4],
            main=hsv(hue, 0.25 + 0.6 * row[7], value),
            accent=hsv(hue + 0.2 + 0.6 * row[8], 0.5 * row[2] + 0.15, 0.25 + 0.5 * row[3]),
            mark=hsv(hue + 0.3 + 0.4 * row[7], 0.35, 0.95 if value < 0.62 else 0.3),
            finish=_FINISHES[int(len(_FINISHES) * row[9])],
            grain=row[8],
        )

    def pattern(self) -> c.Pattern | None:
        """Where the second colour shows."""
        period = 0.16 + 0.18 * self.grain
        return {
            "plain": None,
            "stripes": c.stripes(period, 0.0),
            "hoops": c.stripes(period, math.pi / 2),
            "dots": c.dots(1.1 * period, 0.33),
            "checks": c.checks(1.2 * period),
            "zigzag": c.zigzag(1.2 * period),
        }[self.finish]


def draw_product(item: Item, rng: Rng) -> Image.Image:
    """Draw one picture of an item, as a seller would take it.

    Args:
        item: What to draw.
        rng: Where the pose, the place, the light and the room come from.
    """
    size = scene.picture_size(rng)
    canvas = c.Canvas(scene.room(rng, size), scene.pose(rng, size, fill=(0.40, 0.48), turn=0.12))
    canvas.shadow(c.oval(0.05, 0.95, 0.8, 0.1), 0.5, 3.0)
    _DRAW[item.kind](canvas, item)
    return scene.photograph(canvas.finish(), rng, clutter=0.2)


def _paint(canvas: c.Canvas, item: Item, outline: c.Points, *, shade: float = 0.35) -> None:
    canvas.fill(outline, item.main, second=item.mark, pattern=item.pattern(), shade=shade)


def _legs(canvas: c.Canvas, item: Item, xs: tuple[float, ...], top: float) -> None:
    thick, splay = 0.035 + 0.06 * item.detail, 0.12 * item.taper
    for x in xs:
        foot = x + math.copysign(splay, x)
        canvas.fill(
            c.polygon((x - thick, top), (x + thick, top), (foot + thick * 0.7, 0.95), (foot - thick * 0.7, 0.95)),
            item.accent,
        )


def _chair(canvas: c.Canvas, item: Item) -> None:
    wide, seat = 0.42 + 0.25 * item.width, 0.15 + 0.25 * item.legs
    top = seat - 0.6 - 0.45 * item.height
    _legs(canvas, item, (-wide * 0.85, -wide * 0.4, wide * 0.5, wide * 0.9), seat)
    narrow = wide * (1.0 - 0.45 * item.taper)
    if item.detail > 0.5:
        for x in np.linspace(-0.85, 0.85, 3 + int(4 * item.grain)):
            canvas.fill(c.rectangle(x * narrow - 0.04, top + 0.1, x * narrow + 0.04, seat), item.main)
        _paint(canvas, item, c.rectangle(-narrow, top, narrow, top + 0.2))
    else:
        _paint(canvas, item, c.smooth((-wide * 0.9, seat), (-narrow, top), (narrow, top), (wide * 0.9, seat), steps=6))
    cushion = c.smooth((-wide, seat - 0.04), (wide, seat - 0.04), (wide + 0.05, seat + 0.12), (-wide, seat + 0.12))
    canvas.fill(cushion, item.accent if item.detail > 0.5 else item.main, second=item.mark, pattern=item.pattern())


def _sofa(canvas: c.Canvas, item: Item) -> None:
    wide, top, arm = 0.8 + 0.25 * item.width, 0.1 - 0.5 * item.height, 0.14 + 0.14 * item.taper
    seat = 0.38
    _legs(canvas, item, (-wide * 0.85, wide * 0.85), 0.7)
    _paint(canvas, item, c.smooth((-wide, 0.5), (-wide * 0.9, top), (wide * 0.9, top), (wide, 0.5), steps=6))
    _paint(canvas, item, c.rectangle(-wide, seat + 0.1, wide, 0.78), shade=0.5)
    cushions = 1 + int(3 * item.legs)
    edges = np.linspace(-wide + arm, wide - arm, cushions + 1)
    for left, right in pairwise(edges.tolist()):
        canvas.fill(
            c.rectangle(left + 0.015, seat - 0.06, right - 0.015, seat + 0.14), c.mix(item.main, item.accent, 0.5)
        )
    for x in (-wide, wide - arm):
        canvas.fill(c.smooth((x, 0.8), (x, 0.12), (x + arm, 0.12), (x + arm, 0.8), steps=5), item.main, shade=0.6)
    if item.detail > 0.4:
        canvas.fill(c.polygon((-0.3, 0.3), (-0.12, 0.02), (0.14, 0.14), (-0.05, 0.4)), item.accent)


def _table(canvas: c.Canvas, item: Item) -> None:
    wide, top, thick = 0.7 + 0.35 * item.width, 0.25 - 0.6 * item.height, 0.1 + 0.16 * item.detail
    if item.legs > 0.55:
        canvas.fill(c.polygon((-0.08, top), (0.08, top), (0.1, 0.85), (-0.1, 0.85)), item.accent)
        canvas.fill(c.polygon((-0.12, 0.82), (0.12, 0.82), (wide * 0.6, 0.95), (-wide * 0.6, 0.95)), item.accent)
    else:
        _legs(canvas, item, (-wide * 0.85, wide * 0.85, -wide * 0.5, wide * 0.5), top)
    back = wide * (0.95 - 0.3 * item.taper)
    canvas.fill(
        c.polygon((-back, top - 0.24), (back, top - 0.24), (wide, top), (-wide, top)),
        item.main,
        second=item.mark,
        pattern=item.pattern(),
        shade=-0.2,
    )
    canvas.fill(c.rectangle(-wide, top, wide, top + thick), c.mix(item.main, (0, 0, 0), 0.3))


def _cabinet(canvas: c.Canvas, item: Item) -> None:
    wide, top = 0.45 + 0.35 * item.width, 0.1 - 0.95 * item.height
    _legs(canvas, item, (-wide * 0.85, wide * 0.85), 0.75)
    _paint(canvas, item, c.rectangle(-wide, top, wide, 0.8 + 0.1 * item.legs))
    canvas.fill(c.rectangle(-wide - 0.05, top - 0.08, wide + 0.05, top + 0.02), item.accent)
    rows, columns = 1 + int(4 * item.detail), 1 + int(3 * item.taper)
    xs, ys = np.linspace(-wide, wide, columns + 1), np.linspace(top + 0.05, 0.8, rows + 1)
    for y in ys[1:-1]:
        canvas.line(np.array([[-wide, y], [wide, y]]), item.accent, 0.03)
    for x in xs[1:-1]:
        canvas.line(np.array([[x, top], [x, 0.8]]), item.accent, 0.03)
    for x in (xs[1:] + xs[:-1]) / 2:
        for y in (ys[1:] + ys[:-1]) / 2:
            canvas.fill(c.oval(x, y, 0.05, 0.05), item.accent)


def _lamp(canvas: c.Canvas, item: Item) -> None:
    low, top = -0.25 + 0.3 * item.height, -0.95
    wide = 0.42 + 0.3 * item.width
    narrow = wide * (1.0 - 0.75 * item.taper)
    canvas.fill(c.rectangle(-0.025, low, 0.025, 0.9), item.accent)
    bulge = 0.08 + 0.26 * item.legs
    if item.detail > 0.35:
        canvas.fill(
            c.smooth((-0.06, low), (0.06, low), (bulge, 0.5), (0.1, 0.9), (-0.1, 0.9), (-bulge, 0.5)), item.accent
        )
    canvas.fill(c.oval(0, 0.9, 0.22 + 0.22 * item.legs, 0.08), item.accent)
    _paint(canvas, item, c.polygon((-narrow, top), (narrow, top), (wide, low), (-wide, low)), shade=-0.3)


def _mug(canvas: c.Canvas, item: Item) -> None:
    wide, top = 0.45 + 0.2 * item.width, 0.05 - 0.6 * item.height
    low = wide * (1.0 - 0.45 * item.taper)
    size = 0.16 + 0.18 * item.legs
    middle = (top + 0.85) / 2
    for grow, colour in ((1.0, item.accent), (0.6, None)):
        ring = c.oval(wide * 0.95, middle, size * grow + 0.1, (0.25 + 0.1 * item.detail) * grow)
        if colour is not None:
            canvas.fill(ring, colour)
        else:
            canvas.fill(ring, (0.85, 0.84, 0.82), counts=False)
    _paint(
        canvas,
        item,
        c.smooth(
            (-wide, top), (wide, top), (wide * 0.98, middle), (low, 0.9), (-low, 0.9), (-wide * 0.98, middle), steps=6
        ),
    )
    canvas.fill(c.oval(0, top, wide, 0.12), c.mix(item.main, (1, 1, 1), 0.45))
    canvas.fill(c.oval(0, top + 0.015, wide * 0.88, 0.085), c.mix(item.accent, (0.1, 0.05, 0.02), 0.5), shade=0)


def _kettle(canvas: c.Canvas, item: Item) -> None:
    wide, top = 0.5 + 0.18 * item.width, 0.15 - 0.5 * item.height
    neck = wide * (0.85 - 0.5 * item.taper)
    canvas.fill(
        c.polygon((wide * 0.6, 0.45), (wide * 0.75, 0.7), (wide + 0.42, top + 0.05), (wide + 0.25, top - 0.05)),
        item.main,
    )
    reach = top - 0.3 - 0.25 * item.legs
    handle = [[-neck * 0.9, top], [-neck * 0.8, reach], [neck * 0.8, reach], [neck * 0.9, top]]
    canvas.line(np.array(handle), item.accent, 0.08 + 0.06 * item.detail)
    _paint(
        canvas,
        item,
        c.smooth((-neck, top), (neck, top), (wide, 0.6), (wide * 0.8, 0.92), (-wide * 0.8, 0.92), (-wide, 0.6)),
    )
    canvas.fill(c.oval(0, top, neck * 0.95, 0.09), item.accent)
    canvas.fill(c.oval(0, top - 0.11, 0.05 + 0.07 * item.detail, 0.08), item.accent)


def _fan(canvas: c.Canvas, item: Item) -> None:
    radius, hub = 0.48 + 0.14 * item.width, -0.35 + 0.25 * item.height
    canvas.fill(c.rectangle(-0.05 - 0.05 * item.taper, hub, 0.05 + 0.05 * item.taper, 0.9), item.accent)
    canvas.fill(c.oval(0, 0.9, 0.25 + 0.25 * item.legs, 0.09), item.accent)
    canvas.fill(c.oval(0, hub, radius, radius), c.mix(item.accent, (1, 1, 1), 0.35))
    canvas.fill(c.oval(0, hub, radius * 0.93, radius * 0.93), (0.9, 0.9, 0.9), second=item.mark, pattern=item.pattern())
    blades = 3 + int(4 * item.detail)
    for k in range(blades):
        angle = 0.4 + 2 * math.pi * k / blades
        x, y = 0.5 * radius * math.cos(angle), hub + 0.5 * radius * math.sin(angle)
        canvas.fill(c.oval(x, y, radius * 0.45, radius * (0.12 + 0.14 * item.taper), angle), item.main)
    canvas.fill(c.oval(0, hub, 0.12, 0.12), item.accent)


_DRAW: dict[str, Callable[[c.Canvas, Item], None]] = {
    "cabinet": _cabinet,
    "chair": _chair,
    "fan": _fan,
    "kettle": _kettle,
    "lamp": _lamp,
    "mug": _mug,
    "sofa": _sofa,
    "table": _table,
}
