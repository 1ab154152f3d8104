"""Landmarks for the miniatures of Oxford and Paris: buildings seen near and far, from either side, behind others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, between, hsv

View = Literal["good", "ok", "junk"]
Box = tuple[int, int, int, int]
STRATA = 14
_ROOFS = ("dome", "gable", "spires", "battlements", "mansard")
_WINDOWS = ("plain", "arched", "pointed", "round")
_SIZES = ((192, 144), (144, 192), (192, 128), (160, 160))


@dataclass(frozen=True)
class Building:
    """What tells a building from the others; lengths are in half widths of it."""

    height: float
    storeys: int
    bays: int
    window: str
    opening: float
    roof: str
    rise: float
    towers: int
    tower_height: float
    columns: int
    clock: bool
    wall: c.Colour
    trim: c.Colour
    tiles: c.Colour

    @classmethod
    def from_strata(cls, row: list[float]) -> Building:
        """A building from ``STRATA`` numbers spread over [0, 1)."""
        wall = hsv(0.02 + 0.13 * row[0], 0.12 + 0.5 * row[1], 0.55 + 0.4 * row[2])
        return cls(
            height=0.65 + 0.75 * row[3],
            storeys=2 + int(3 * row[4]),
            bays=3 + int(5 * row[5]),
            window=_WINDOWS[int(row[6] * len(_WINDOWS))],
            opening=0.45 + 0.3 * row[7],
            roof=_ROOFS[int(row[8] * len(_ROOFS))],
            rise=0.25 + 0.4 * row[9],
            towers=int(3 * row[10]),
            tower_height=0.25 + 0.5 * row[11],
            columns=(0, 4, 6)[int(3 * row[12])],
            clock=row[13] > 0.5,
            wall=wall,
            trim=c.mix(wall, (1.0, 0.98, 0.9) if row[2] < 0.6 else (0.3, 0.25, 0.22), 0.6),
            tiles=hsv((0.02, 0.58, 0.42)[int(3 * row[7])], 0.2 + 0.5 * row[13], 0.3 + 0.35 * row[0]),
        )


def draw_landmark(building: Building, view: View, rng: Rng) -> tuple[Image.Image, Box]:
    """Draw one picture of a building.

    Args:
        building: What to draw.
        view: ``good`` shows it whole, ``ok`` a large part, or all of it far away, ``junk`` an edge.
        rng: Where size, viewpoint, place, light and clutter come from.

    Returns:
        The picture, and the building's box in it: left, top, right, bottom.
    """
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    canvas = c.Canvas(scene.street(rng, size, between(rng, 0.6, 0.85)), _pose(view, rng, size))
    _draw_building(canvas, building)
    if view != "junk":
        _draw_passers_by(canvas, rng, tall=view == "ok")
    return scene.photograph(canvas.finish(), rng, clutter=0.2 if view == "good" else 0.6), canvas.box()


def draw_street(others: list[Building], rng: Rng) -> Image.Image:
    """Draw a row of other buildings, or open country: pictures that show no landmark."""
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    if not others:
        return scene.photograph(scene.outdoors(rng, size), rng)
    image = scene.street(rng, size, between(rng, 0.6, 0.85))
    x, unit = -between(rng, 0.0, 0.2) * size[0], between(rng, 0.14, 0.3) * min(size)
    for building in others:
        pose = c.Pose((x + unit, between(rng, 0.6, 0.75) * size[1]), unit, squash=between(rng, 0.8, 1.0))
        canvas = c.Canvas(image, pose)
        _draw_building(canvas, building)
        image, x = canvas.finish(), x + between(rng, 1.8, 2.4) * unit
    return scene.photograph(image, rng)


def _pose(view: View, rng: Rng, size: tuple[int, int]) -> c.Pose:
    width, height = size
    near = view == "ok" and rng.random() < 0.5
    if view == "good":
        share, x, y = between(rng, 0.26, 0.36), between(rng, 0.42, 0.58), between(rng, 0.6, 0.72)
    elif near:
        share, x, y = between(rng, 0.5, 0.65), between(rng, 0.3, 0.7), between(rng, 0.7, 0.95)
    elif view == "ok":
        share, x, y = between(rng, 0.13, 0.18), between(rng, 0.25, 0.75), between(rng, 0.5, 0.65)
    else:
        share, y = between(rng, 0.3, 0.5), between(rng, 0.6, 0.8)
        # All but an edge of the building lies beyond the picture's left or right.
        hidden = between(rng, 0.4, 0.65) * share * min(size) / width
        x = -hidden if rng.random() < 0.5 else 1 + hidden
    return c.Pose(
        centre=(x * width, y * height),
        scale=share * min(size),
        angle=between(rng, -0.05, 0.05),
        squash=between(rng, 0.72, 1.05),
        shear=between(rng, -0.14, 0.14),
    )


def _draw_building(canvas: c.Canvas, b: Building) -> None:
    """Its ground is at v = 0.6; up is negative."""
    ground, top = 0.6, 0.6 - b.height
    _draw_roof(canvas, b, top)
    for side in (-1, 1)[: b.towers]:
        _draw_tower(canvas, b, side * 0.92, top - b.tower_height, ground)
    courses = c.stripes(0.07, math.pi / 2)
    canvas.fill(c.rectangle(-1, top, 1, ground), b.wall, second=c.mix(b.wall, (0, 0, 0), 0.18), pattern=courses)
    storey, bay = (b.height - 0.12) / b.storeys, 1.9 / b.bays
    for floor in range(b.storeys):
        middle = top + 0.06 + (floor + 0.5) * storey
        canvas.fill(c.rectangle(-1, middle + 0.46 * storey, 1, middle + 0.52 * storey), b.trim, shade=0)
        if floor == b.storeys - 1 and b.columns:
            continue
        for i in range(b.bays):
            _draw_window(canvas, b, -0.95 + (i + 0.5) * bay, middle, 0.5 * b.opening * bay, 0.36 * storey)
    if b.columns:
        _draw_portico(canvas, b, ground - storey, ground)
    else:
        _draw_window(canvas, b, 0.0, ground - 0.3 * storey, 0.3 * bay, 0.3 * storey)


def _draw_window(canvas: c.Canvas, b: Building, x: float, y: float, half: float, tall: float) -> None:
    for grow, colour in ((1.3, b.trim), (1.0, (0.12, 0.14, 0.18))):
        outline = _window_outline(b.window, half * grow, tall * (0.5 * grow + 0.5))
        canvas.fill(np.add(outline, (x, y)), colour, shade=0.2)


def _window_outline(kind: str, w: float, h: float) -> c.Points:
    if kind == "arched":
        arch = ((w * math.cos(t), -0.4 * h - w * math.sin(t)) for t in np.linspace(0, math.pi, 9))
        return c.polygon(*arch, (-w, h), (w, h))
    if kind == "pointed":
        return c.polygon((-w, h), (-w, -0.2 * h), (0, -1.2 * h), (w, -0.2 * h), (w, h))
    return c.oval(0, 0, w, min(h, 1.2 * w)) if kind == "round" else c.rectangle(-w, -h, w, h)


def _draw_roof(canvas: c.Canvas, b: Building, top: float) -> None:
    if b.roof == "dome":
        canvas.fill(c.rectangle(-0.5, top - 0.18, 0.5, top), b.trim)
        canvas.fill(c.oval(0, top - 0.15, 0.46, b.rise + 0.1), b.tiles, shade=0.6)
        canvas.line(np.array([[0, top - b.rise - 0.2], [0, top - b.rise - 0.5]]), b.trim, 0.06)
    elif b.roof == "gable":
        canvas.fill(c.polygon((-1.06, top), (0, top - b.rise - 0.1), (1.06, top)), b.tiles)
        canvas.fill(c.polygon((-0.75, top - 0.02), (0, top - b.rise + 0.04), (0.75, top - 0.02)), b.wall)
    elif b.roof == "spires":
        for x, high in ((-0.6, 0.8), (0.0, 1.5), (0.6, 0.8)):
            canvas.fill(c.polygon((x - 0.17, top), (x, top - high * (b.rise + 0.2)), (x + 0.17, top)), b.tiles)
    elif b.roof == "battlements":
        for i in range(9):
            canvas.fill(c.rectangle(-1 + 0.23 * i, top - 0.14, -0.86 + 0.23 * i, top + 0.01), b.wall)
    else:
        high = 0.6 * b.rise
        roof = c.polygon((-1.04, top), (-0.85, top - high), (0.85, top - high), (1.04, top))
        canvas.fill(roof, b.tiles, second=c.mix(b.tiles, (0, 0, 0), 0.3), pattern=c.stripes(0.12, 0.0))
    if b.clock:
        canvas.fill(c.oval(0, top - 0.12, 0.15, 0.15), b.trim, shade=0)
        canvas.fill(c.oval(0, top - 0.12, 0.11, 0.11), (0.95, 0.93, 0.85), shade=0)
        canvas.line(np.array([[0, top - 0.2], [0, top - 0.12], [0.06, top - 0.1]]), (0.1, 0.1, 0.1), 0.025)


def _draw_tower(canvas: c.Canvas, b: Building, x: float, top: float, ground: float) -> None:
    canvas.fill(c.rectangle(x - 0.16, top, x + 0.16, ground), c.mix(b.wall, (0, 0, 0), 0.08))
    canvas.fill(c.polygon((x - 0.2, top), (x, top - b.rise), (x + 0.2, top)), b.tiles)
    _draw_window(canvas, b, x, top + 0.2, 0.06, 0.1)


def _draw_portico(canvas: c.Canvas, b: Building, top: float, ground: float) -> None:
    canvas.fill(c.rectangle(-0.7, top, 0.7, ground), (0.2, 0.19, 0.2))
    for x in np.linspace(-0.65, 0.65, b.columns):
        canvas.fill(c.rectangle(x - 0.05, top, x + 0.05, ground), b.trim, shade=0)
    canvas.fill(c.polygon((-0.8, top + 0.02), (0, top - 0.24), (0.8, top + 0.02)), b.trim)


def _draw_passers_by(canvas: c.Canvas, rng: Rng, *, tall: bool) -> None:
    """People before the building, and trees that hide a part of it."""
    for _ in range(int(rng.integers(1, 6))):
        x, colour = between(rng, -1.6, 1.6), hsv(between(rng, 0, 1), between(rng, 0.2, 0.8), between(rng, 0.2, 0.8))
        canvas.fill(c.rectangle(x - 0.04, 0.5, x + 0.04, 0.72), colour, counts=False)
        canvas.fill(c.oval(x, 0.46, 0.04, 0.05), (0.85, 0.65, 0.5), shade=0, counts=False)
    for _ in range(int(rng.integers(0, 2 + tall))):
        x, wide = between(rng, -1.4, 1.4), between(rng, 0.18, 0.35 if tall else 0.25)
        canvas.fill(c.rectangle(x - 0.04, 0.1, x + 0.04, 0.7), (0.3, 0.22, 0.15), counts=False)
        leaves = hsv(between(rng, 0.22, 0.36), between(rng, 0.4, 0.7), between(rng, 0.25, 0.55))
        canvas.fill(
            c.oval(x, 0.0, wide, 1.3 * wide),
            leaves,
            second=c.mix(leaves, (0, 0, 0), 0.3),
            pattern=c.dots(0.1, 0.35),
            counts=False,
        )
