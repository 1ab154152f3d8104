"""Garments for the miniature of In-shop Clothes Retrieval, worn by a model who is seen from several sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, between, hsv

STRATA = 10
VIEWS = ("front", "side", "back", "full", "additional")
KINDS = {
    "WOMEN/Dresses": "dress",
    "WOMEN/Skirts": "skirt",
    "WOMEN/Tees_Tanks": "top",
    "WOMEN/Jackets_Coats": "coat",
    "MEN/Sweaters": "top",
    "MEN/Pants": "trousers",
}
"""Folders of the original, and what is drawn for each."""

_CLOTHS = ("plain", "hoops", "pinstripes", "dots", "checks", "zigzag", "bias")
SIZE = (128, 128)


@dataclass(frozen=True)
class Garment:
    """What tells a garment from the others of its kind; ``length`` to ``collar`` are in [0, 1]."""

    kind: str
    length: float
    sleeve: float
    flare: float
    waist: float
    collar: float
    cloth: c.Colour
    mark: c.Colour
    trim: c.Colour
    weave: str
    grain: float

    @classmethod
    def from_strata(cls, kind: str, row: list[float]) -> Garment:
        """A garment from numbers spread over [0, 1)."""
        hue, value = row[5], 0.3 + 0.6 * row[6]
        return cls(
            kind=kind,
            length=row[0],
            sleeve=row[1],
            flare=row[2],
            waist=row[3],
            collar=row[4],
            cloth=hsv(hue, 0.2 + 0.65 * row[7], value),
            mark=hsv(hue + 0.25 + 0.5 * row[8], 0.45, 0.92 if value < 0.6 else 0.25),
            trim=hsv(hue + 0.5 * row[4], 0.5 * row[0], 0.2 + 0.6 * row[2]),
            weave=_CLOTHS[int(len(_CLOTHS) * row[9])],
            grain=row[8],
        )

    def pattern(self) -> c.Pattern | None:
        """Where the second colour of the cloth shows."""
        period = 0.09 + 0.11 * self.grain
        return {
            "plain": None,
            "hoops": c.stripes(1.2 * period, math.pi / 2),
            "pinstripes": c.stripes(0.9 * period, 0.0, 0.3),
            "dots": c.dots(1.3 * period, 0.3),
            "checks": c.checks(1.5 * period),
            "zigzag": c.zigzag(1.3 * period),
            "bias": c.stripes(1.3 * period, 0.8),
        }[self.weave]


@dataclass(frozen=True)
class _Model:
    """Who wears it, and with what: another in every picture, whatever the garment."""

    skin: c.Colour
    hair: c.Colour
    above: c.Colour
    below: c.Colour
    stance: float
    width: float

    @classmethod
    def drawn(cls, rng: Rng, view: str) -> _Model:
        return cls(
            skin=c.mix((0.98, 0.84, 0.72), (0.38, 0.24, 0.16), between(rng, 0, 1)),
            hair=hsv(between(rng, 0.02, 0.12), between(rng, 0.2, 0.7), between(rng, 0.08, 0.6)),
            above=hsv(between(rng, 0, 1), between(rng, 0, 0.25), between(rng, 0.6, 0.95)),
            below=hsv(between(rng, 0.5, 0.7), between(rng, 0, 0.4), between(rng, 0.15, 0.5)),
            stance=between(rng, 0.0, 1.0),
            width=0.75 if view == "side" else 1.0,
        )


def draw_garment(garment: Garment, view: str, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draw one picture of a garment.

    Args:
        garment: What to draw.
        view: From where, one of ``VIEWS``.
        rng: Where the model, the pose, the light and the background come from.

    Returns:
        The picture, and the garment's box in it: left, top, right, bottom.
    """
    model = _Model.drawn(rng, view)
    zoom = {"full": 0.9, "additional": 1.35}.get(view, 1.1) * between(rng, 0.95, 1.05)
    middle = {"top": -0.25, "coat": -0.15, "dress": 0.0, "skirt": 0.3, "trousers": 0.45}[garment.kind]
    shift = 0.0 if view == "full" else middle * (1.0 if view == "additional" else 0.5)
    scale = zoom * 0.44 * SIZE[1]
    pose = c.Pose(
        centre=(SIZE[0] * between(rng, 0.44, 0.56), SIZE[1] * between(rng, 0.48, 0.52) - shift * scale),
        scale=scale,
        angle=between(rng, -0.09, 0.09),
        mirrored=bool(rng.integers(2)),
        squash=model.width,
        shear=between(rng, -0.08, 0.08),
    )
    canvas = c.Canvas(scene.room(rng, SIZE, plain=0.9), pose)
    _draw_model(canvas, model)
    _draw_clothes(canvas, garment, model, view)
    _draw_head(canvas, model, view)
    return scene.photograph(canvas.finish(), rng, clutter=0.0), canvas.box()


def _draw_model(canvas: c.Canvas, m: _Model) -> None:
    step = 0.06 + 0.09 * m.stance
    for side in (-1, 1):
        x = side * step
        canvas.fill(
            c.polygon((x - 0.09, 0.15), (x + 0.09, 0.15), (x + 0.05, 1.02), (x - 0.05, 1.02)), m.skin, counts=False
        )
        canvas.fill(c.oval(x + 0.03, 1.04, 0.1, 0.04), m.below, counts=False)
        canvas.fill(_arm(m, side, 1.0), m.skin, counts=False)
    torso = c.smooth((-0.24, -0.6), (0.24, -0.6), (0.17, -0.15), (0.22, 0.2), (-0.22, 0.2), (-0.17, -0.15))
    canvas.fill(torso, m.skin, counts=False)


def _draw_head(canvas: c.Canvas, m: _Model, view: str) -> None:
    if view == "back":
        canvas.fill(c.smooth((-0.15, -0.98), (0.15, -0.98), (0.17, -0.55), (-0.17, -0.55)), m.hair, counts=False)
        return
    canvas.fill(c.rectangle(-0.06, -0.78, 0.06, -0.58), m.skin, counts=False)
    canvas.fill(c.oval(0, -0.89, 0.145, 0.17), m.hair, counts=False)
    canvas.fill(c.oval(0.05 if view == "side" else 0.0, -0.86, 0.105, 0.135), m.skin, counts=False)


def _arm(m: _Model, side: int, share: float, thick: float = 0.055) -> c.Points:
    """An arm from the shoulder, as far down as a share of its length."""
    elbow = (side * (0.33 + 0.12 * m.stance), -0.2)
    hand = (side * (0.30 + 0.10 * (1 - m.stance)), 0.16)
    shoulder = (side * 0.25, -0.53)
    first = min(share / 0.5, 1.0)
    path = [shoulder, tuple(a + first * (b - a) for a, b in zip(shoulder, elbow, strict=True))]
    if share > 0.5:
        rest = (share - 0.5) / 0.5
        path.append(tuple(a + rest * (b - a) for a, b in zip(elbow, hand, strict=True)))
    left = [(x - thick, y) for x, y in path]
    right = [(x + thick, y) for x, y in reversed(path)]
    return c.polygon(*left, *right)


def _draw_clothes(canvas: c.Canvas, g: Garment, m: _Model, view: str) -> None:
    def cloth(outline: c.Points) -> None:
        canvas.fill(outline, g.cloth, second=g.mark, pattern=g.pattern())

    if g.kind in ("top", "coat"):
        _plain(canvas, m, _trousers(m, 1.0, 0.0))
    if g.kind in ("skirt", "trousers"):
        _plain(canvas, m, _bodice(0.25, 0.3, 0.2), above=True)
    if g.kind == "trousers":
        for leg in _trousers(m, 0.5 + 0.5 * g.length, g.flare):
            cloth(leg)
    if g.kind in ("skirt", "dress"):
        cloth(_skirt(0.4 + 0.55 * g.length, g.flare))
    if g.kind in ("top", "coat", "dress"):
        hem = {"top": 0.05 + 0.2 * g.length, "coat": 0.25 + 0.5 * g.length, "dress": 0.1}[g.kind]
        for side in (-1, 1):
            if g.sleeve > 0.2:
                cloth(_arm(m, side, g.sleeve, 0.075 + 0.03 * g.flare))
        cloth(_bodice(hem, g.waist, g.flare if g.kind != "dress" else 0.1))
    _draw_details(canvas, g, view)


def _draw_details(canvas: c.Canvas, g: Garment, view: str) -> None:
    if g.kind in ("skirt", "trousers", "dress"):
        y = 0.1 if g.kind != "dress" else -0.1
        canvas.fill(c.rectangle(-0.21, y - 0.02, 0.21, y + 0.03 + 0.04 * g.waist), g.trim)
    if g.kind == "coat" and view != "back":
        bottom = 0.23 + 0.5 * g.length
        canvas.line(np.array([[0.0, -0.5], [0.0, bottom]]), g.trim, 0.03)
        for y in np.arange(-0.3, bottom - 0.05, 0.12 + 0.12 * g.grain):
            canvas.fill(c.oval(0.06, float(y), 0.028, 0.028), g.trim, shade=0)
    if g.kind in ("top", "coat", "dress") and view != "back":
        deep = 0.06 + 0.16 * g.collar
        neck = c.polygon((-0.12, -0.62), (0.12, -0.62), (0.0, -0.58 + deep))
        canvas.line(np.vstack([neck[0], neck[2], neck[1]]), g.trim, 0.05)


def _plain(canvas: c.Canvas, m: _Model, outlines: c.Points | list[c.Points], *, above: bool = False) -> None:
    """What is worn with the garment, and is not for sale."""
    for outline in outlines if isinstance(outlines, list) else [outlines]:
        canvas.fill(outline, m.above if above else m.below, counts=False)


def _bodice(hem: float, waist: float, flare: float) -> c.Points:
    narrow, low = 0.25 - 0.09 * waist, 0.22 + 0.14 * flare
    return c.polygon(
        (-0.11, -0.62), (0.11, -0.62), (0.3, -0.53), (0.24, -0.3), (narrow, -0.1), (low, hem), (-low, hem),
        (-narrow, -0.1), (-0.24, -0.3), (-0.3, -0.53),
    )  # fmt: skip


def _skirt(hem: float, flare: float) -> c.Points:
    low = 0.24 + 0.34 * flare
    return c.smooth(
        (-0.19, -0.08), (0.19, -0.08), (0.27, 0.2), (low, hem), (0.0, hem + 0.04), (-low, hem), (-0.27, 0.2)
    )


def _trousers(m: _Model, hem: float, flare: float) -> list[c.Points]:
    step, low = 0.06 + 0.09 * m.stance, 0.07 + 0.1 * flare
    return [
        c.polygon(
            (side * 0.21, 0.08),
            (side * 0.23, 0.25),
            (side * step + low, hem),
            (side * step - low, hem),
            (-side * 0.01, 0.32),
            (-side * 0.01, 0.08),
        )
        if side > 0
        else c.polygon((-0.21, 0.08), (-0.23, 0.25), (-step - low, hem), (-step + low, hem), (0.01, 0.32), (0.01, 0.08))
        for side in (-1, 1)
    ]
