"""Cars for the miniature of Cars196: every model has its own silhouette, wheels, windows and trim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, between, hsv

STRATA = 14
_TRIMS = ("plain", "sill", "roof", "panel", "checks", "band")
_GROUND = 0.52


@dataclass(frozen=True)
class Model:
    """What tells a model from the others; numbers are in [0, 1].

    A model is sold in two paints, so that colour alone does not name it.
    """

    bonnet: float
    boot: float
    roof: float
    windscreen: float
    rear: float
    clearance: float
    wheel: float
    spokes: int
    windows: int
    rim: c.Colour
    lamp: float
    trim: str
    accent: c.Colour
    paints: tuple[c.Colour, c.Colour]

    @classmethod
    def from_strata(cls, row: list[float]) -> Model:
        """A model from numbers spread over [0, 1)."""
        hue = row[9]
        return cls(
            bonnet=row[0],
            boot=row[1],
            roof=row[2],
            windscreen=row[3],
            rear=row[4],
            clearance=row[5],
            wheel=row[6],
            spokes=3 + int(6 * row[7]),
            windows=1 + int(3 * row[8]),
            rim=hsv(0.12, 0.6 * (row[7] > 0.7), 0.35 + 0.55 * row[10]),
            lamp=row[10],
            trim=_TRIMS[int(len(_TRIMS) * row[11])],
            accent=hsv(hue + 0.35 + 0.3 * row[12], 0.65, 0.25 + 0.65 * row[12]),
            paints=(
                hsv(hue, 0.3 + 0.6 * row[13], 0.4 + 0.5 * row[8]),
                hsv(hue + 0.08, 0.25 + 0.5 * row[13], 0.85 - 0.4 * row[8]),
            ),
        )


def draw_car(model: Model, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draw one picture of a model.

    Args:
        model: What to draw.
        rng: Where the paint, the pose, the place, the light and the street come from.

    Returns:
        The picture, and the car's box in it: left, top, right, bottom.
    """
    size = scene.picture_size(rng)
    where = scene.pose(rng, size, fill=(0.44, 0.56) if size[0] > size[1] else (0.38, 0.44), turn=0.1)
    horizon = min((where.centre[1] + between(rng, -0.2, 0.3) * where.scale) / size[1], 0.85)
    canvas = c.Canvas(scene.street(rng, size, horizon), where)
    place_car(canvas, model, rng)
    return scene.photograph(canvas.finish(), rng, clutter=0.25), canvas.box()


def place_car(canvas: c.Canvas, model: Model, rng: Rng) -> None:
    """Draw a car and its shadow where the canvas has its object.

    Args:
        canvas: Where to.
        model: What to draw.
        rng: Where the paint comes from.
    """
    canvas.shadow(c.oval(0.0, _GROUND, 1.1, 0.12), 0.75, 2.5)
    _draw_body(canvas, model, model.paints[int(rng.integers(2))], rng)


def _draw_body(canvas: c.Canvas, m: Model, paint: c.Colour, rng: Rng) -> None:
    radius = 0.17 + 0.09 * m.wheel
    sill = _GROUND - 0.10 - 0.16 * m.clearance
    waist = sill - 0.32 - 0.06 * m.bonnet
    roof = waist - 0.17 - 0.36 * m.roof
    front = 1.05 - 0.25 - 0.42 * m.bonnet  # where bonnet and windscreen meet
    back = -1.02 + 0.55 * m.boot
    top_front = front - 0.08 - 0.36 * m.windscreen
    top_back = min(back + 0.03 + 0.32 * m.rear, top_front - 0.25)
    # Glasshouse and roof.
    cabin = c.polygon((front, waist + 0.03), (top_front, roof), (top_back, roof + 0.01), (back, waist + 0.03))
    top = m.accent if m.trim == "roof" else paint
    canvas.fill(cabin, top, shade=0.2)
    _draw_windows(canvas, m, cabin, (waist, roof))
    # Lower body, with its trim.
    body = c.smooth(
        (-1.05, waist + 0.06),
        (back - 0.1, waist),
        (front, waist),
        (0.9, waist + 0.05 + 0.1 * m.bonnet),
        (1.06, waist + 0.18),
        (1.05, sill),
        (0.0, sill + 0.02),
        (-1.05, sill),
        steps=5,
    )
    pattern = {
        "panel": c.stripes(0.16, 0.0, 0.5),
        "checks": c.checks(0.2),
        "sill": _band(sill - 0.13, sill + 1.0),
        "band": _band(waist + 0.09, waist + 0.18),
    }.get(m.trim)
    canvas.fill(body, paint, second=m.accent, pattern=pattern, shade=0.4)
    doors = np.linspace(front - 0.05, back + 0.1, m.windows + 1)
    for x in doors:
        canvas.line(np.array([[x, waist + 0.04], [x - 0.02, sill - 0.02]]), c.mix(paint, (0, 0, 0), 0.5), 0.015)
    # Lamps and bumpers.
    tall = 0.05 + 0.07 * m.lamp
    canvas.fill(c.oval(0.97, waist + 0.2, 0.11 - 0.05 * m.lamp, tall), (1.0, 0.97, 0.78), shade=0.1)
    canvas.fill(c.rectangle(-1.06, waist + 0.1, -1.0 + 0.05 * m.lamp, waist + 0.12 + 2 * tall), (0.75, 0.08, 0.06))
    canvas.fill(c.rectangle(0.86, sill - 0.08, 1.1, sill), c.mix(m.accent, (0.3, 0.3, 0.3), 0.6))
    canvas.fill(c.rectangle(-1.1, sill - 0.08, -0.88, sill), c.mix(m.accent, (0.3, 0.3, 0.3), 0.6))
    turn = between(rng, 0, 2 * math.pi)
    for x in (0.64, -0.62):
        _draw_wheel(canvas, m, (x, _GROUND - radius), radius, turn)


def _draw_windows(canvas: c.Canvas, m: Model, cabin: c.Points, heights: tuple[float, float]) -> None:
    waist, roof = heights
    glass = (0.16, 0.2, 0.25)
    low, high = waist - 0.005, roof + 0.05
    share = (low - roof) / (waist + 0.03 - roof), (high - roof) / (waist + 0.03 - roof)
    (front, _), (top_front, _), (top_back, _), (back, _) = cabin.tolist()
    right = [top_front + s * (front - top_front) - 0.05 for s in share]
    left = [top_back + s * (back - top_back) + 0.05 for s in share]
    for i in range(m.windows):
        a, b = i / m.windows, (i + 1) / m.windows
        gap = 0.02 if i + 1 < m.windows else 0.0
        canvas.fill(
            c.polygon(
                (left[0] + a * (right[0] - left[0]), low),
                (left[1] + a * (right[1] - left[1]), high),
                (left[1] + b * (right[1] - left[1]) - gap, high),
                (left[0] + b * (right[0] - left[0]) - gap, low),
            ),
            glass,
            second=(0.5, 0.58, 0.65),
            pattern=c.stripes(0.7, 0.6, 0.2),
            shade=-0.5,
        )


def _draw_wheel(canvas: c.Canvas, m: Model, hub: tuple[float, float], radius: float, turn: float) -> None:
    x, y = hub
    canvas.fill(c.oval(x, y - 0.01, radius * 1.17, radius * 1.15), (0.05, 0.05, 0.06), shade=0)
    canvas.fill(c.oval(x, y, radius, radius), (0.13, 0.13, 0.14), shade=0.1)
    canvas.fill(c.oval(x, y, radius * 0.66, radius * 0.66), c.mix(m.rim, (0, 0, 0), 0.65), shade=0.1)
    for k in range(m.spokes):
        angle = turn + 2 * math.pi * k / m.spokes
        tip = [x + 0.64 * radius * math.cos(angle), y + 0.64 * radius * math.sin(angle)]
        canvas.line(np.array([[x, y], tip]), m.rim, 0.05)
    canvas.fill(c.oval(x, y, radius * 0.2, radius * 0.2), m.rim, shade=0)


def _band(top: float, bottom: float) -> c.Pattern:
    return lambda u, v: ((v > top) & (v < bottom)).astype(np.float64) * np.ones_like(u)
