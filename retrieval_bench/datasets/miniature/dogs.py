"""Dogs for the miniature of Stanford Dogs: every breed has its own build, head, ears, tail and coat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, between, hsv

STRATA = 15
_COATS = ("plain", "saddle", "patches", "brindle", "ticked", "blanket")
_EARS = ("pricked", "folded", "hanging")
_TAILS = ("curled", "plumed", "straight", "docked")
_GROUND = 0.86


@dataclass(frozen=True)
class Breed:
    """What tells a breed from the others; numbers are in [0, 1]."""

    legs: float
    length: float
    chest: float
    tuck: float
    neck: float
    head: float
    muzzle: float
    snout: float
    ear: float
    fluff: float
    ears: str
    tail: str
    coat: str
    base: c.Colour
    mark: c.Colour
    belly: c.Colour
    nose: c.Colour
    grain: float

    @classmethod
    def from_strata(cls, row: list[float]) -> Breed:
        """A breed from numbers spread over [0, 1)."""
        value = 0.18 + 0.74 * row[11]
        base = hsv(0.045 + 0.085 * row[10], 0.1 + 0.6 * row[12], value)
        return cls(
            legs=row[0],
            length=row[1],
            chest=row[2],
            tuck=row[3],
            neck=row[4],
            head=row[5],
            muzzle=row[6],
            snout=row[3],
            ear=row[7],
            fluff=max(0.0, 1.6 * row[8] - 0.6),
            ears=_EARS[int(len(_EARS) * row[9])],
            tail=_TAILS[int(len(_TAILS) * row[13])],
            coat=_COATS[int(len(_COATS) * row[14])],
            base=base,
            mark=(0.94, 0.9, 0.84) if value < 0.5 else hsv(0.05, 0.45 * row[4], 0.1 + 0.15 * row[5]),
            belly=c.mix(base, (1.0, 0.97, 0.9), 0.15 + 0.6 * row[0]),
            nose=hsv(0.03, 0.4 * row[1], 0.08 + 0.2 * row[2]),
            grain=row[8],
        )

    def pattern(self) -> c.Pattern | None:
        """Where the coat shows its marks."""
        grain = 0.7 + 0.6 * self.grain
        back = -0.28 + 0.2 * self.grain
        return {
            "plain": None,
            "saddle": lambda u, v: ((v < back) & (abs(u) < 0.42)).astype(np.float64),
            "patches": c.dots(0.5 * grain, 0.36),
            "brindle": c.stripes(0.12 * grain, 0.25, 0.4),
            "ticked": c.dots(0.13 * grain, 0.26),
            "blanket": lambda u, v: (u + 0.0 * v < 0.3 * self.grain - 0.1).astype(np.float64),
        }[self.coat]


def draw_dog(breed: Breed, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draw one picture of a breed.

    Args:
        breed: What to draw.
        rng: Where the pose, the place, the light and the collar come from.

    Returns:
        The picture, and the dog's box in it: left, top, right, bottom.
    """
    size = scene.picture_size(rng)
    place = scene.room(rng, size, plain=0.15) if rng.random() < 0.4 else scene.outdoors(rng, size)
    canvas = c.Canvas(place, scene.pose(rng, size, fill=(0.36, 0.46), turn=0.14))
    canvas.shadow(c.oval(-0.1, _GROUND + 0.03, 0.75, 0.09), 0.6, 2.5)
    _draw_body(canvas, breed, rng)
    return scene.photograph(canvas.finish(), rng, clutter=0.25), canvas.box()


def _draw_body(canvas: c.Canvas, b: Breed, rng: Rng) -> None:
    half = 0.42 + 0.2 * b.length
    low = 0.52 - 0.42 * b.legs  # where the chest ends and the legs show
    deep = 0.26 + 0.16 * b.chest
    back = low - 2 * deep + 0.08 * b.tuck
    pattern, shaded = b.pattern(), c.mix(b.base, (0, 0, 0), 0.3)
    _draw_tail(canvas, b, (-half, back + 0.12), between(rng, -0.3, 0.3))
    stride = between(rng, -0.16, 0.16)
    for x, swing in ((-half + 0.2, -stride), (half - 0.24, stride)):
        _draw_leg(canvas, b, (x, low - 0.12), swing, shaded)
    trunk = c.smooth(
        (-half - 0.02, back + 0.2),
        (-half + 0.14, back + 0.02),
        (0.0, back + 0.05),
        (half - 0.1, back - 0.02),
        (half + 0.08, back + deep),
        (half - 0.12, low + 0.03),
        (-0.1, low - 0.2 * b.tuck),
        (-half + 0.12, low - 0.3 * b.tuck),
    )
    _coat_edge(canvas, b, trunk, b.base)
    canvas.fill(trunk, b.base, second=b.mark, pattern=pattern)
    chest = c.smooth((half - 0.3, low - 0.13), (half + 0.04, back + deep), (half - 0.1, low + 0.03), (0.0, low - 0.08))
    canvas.fill(chest, b.belly, shade=0.2)
    for x, swing in ((-half + 0.1, stride), (half - 0.14, -stride)):
        _draw_leg(canvas, b, (x, low - 0.16), swing, b.base)
    _draw_head(canvas, b, (half - 0.12, back), rng)


def _coat_edge(canvas: c.Canvas, b: Breed, outline: c.Points, colour: c.Colour) -> None:
    """Tufts around an outline, the longer the fluffier the breed."""
    if b.fluff < 0.1:
        return
    centre = outline.mean(axis=0)
    grown = outline.copy()
    grown[::2] = centre + (outline[::2] - centre) * (1.0 + 0.22 * b.fluff)
    canvas.fill(grown, c.mix(colour, (1, 1, 1), 0.12))


def _draw_leg(canvas: c.Canvas, b: Breed, hip: tuple[float, float], swing: float, colour: c.Colour) -> None:
    (x, y), wide = hip, 0.075 + 0.045 * b.chest
    foot = x + swing
    leg = c.smooth(
        (x - 1.5 * wide, y),
        (x + 1.4 * wide, y),
        (foot + wide * 0.8, _GROUND - 0.1),
        (foot + wide * 1.7, _GROUND),
        (foot - wide * 0.8, _GROUND),
        (foot - wide * 0.8, _GROUND - 0.1),
        steps=5,
    )
    _coat_edge(canvas, b, leg, colour)
    canvas.fill(leg, colour, second=b.belly, pattern=lambda _, v: (v > 0.68).astype(np.float64))


def _draw_tail(canvas: c.Canvas, b: Breed, root: tuple[float, float], wag: float) -> None:
    x, y = root
    if b.tail == "docked":
        canvas.fill(c.oval(x - 0.03, y - 0.06, 0.1, 0.09), b.base)
    elif b.tail == "curled":
        turn = np.linspace(2.4, -3.6, 26)
        radius = np.linspace(0.24, 0.08, 26)
        curl = np.column_stack([x + 0.02 + radius * np.cos(turn), y - 0.22 + radius * np.sin(turn)])
        canvas.line(curl, b.base, 0.1 + 0.06 * b.fluff)
    else:
        tip = (x - 0.42, y - 0.1 - 0.3 * wag)
        canvas.line(np.array([[x + 0.1, y], [x - 0.18, y + 0.06], tip]), b.base, 0.07)
        if b.tail == "plumed":
            plume = c.smooth((x, y - 0.03), tip, (tip[0] + 0.05, tip[1] + 0.26), (x - 0.1, y + 0.22))
            canvas.fill(plume, c.mix(b.base, b.belly, 0.5), shade=0.2)


def _draw_head(canvas: c.Canvas, b: Breed, withers: tuple[float, float], rng: Rng) -> None:
    nod = between(rng, -0.12, 0.12)
    radius = 0.2 + 0.07 * b.head
    x, y = withers[0] + 0.26, withers[1] - 0.12 - 0.22 * b.neck + nod
    neck = c.smooth(
        (withers[0] - 0.22, withers[1] + 0.06),
        (x - radius * 0.9, y - radius * 0.3),
        (x + radius * 0.5, y + radius * 0.6),
        (withers[0] + 0.2, withers[1] + 0.34),
    )
    _coat_edge(canvas, b, neck, b.base)
    canvas.fill(neck, b.base, second=b.mark, pattern=b.pattern() if b.coat in ("brindle", "ticked") else None)
    if rng.random() < 0.5:
        band = np.array([[withers[0] - 0.06, y + radius * 0.75], [x + radius * 0.45, y + radius * 1.05]])
        canvas.line(band, hsv(between(rng, 0, 1), 0.8, 0.8), 0.07)
    if b.ears == "pricked":
        _draw_ear(canvas, b, (x, y), radius, c.mix(b.base, (0, 0, 0), 0.35))
    canvas.fill(c.oval(x, y, radius * 1.05, radius), b.base)
    long, thick = 0.1 + 0.3 * b.muzzle, 0.085 + 0.06 * b.snout
    end = x + radius * 0.7 + long
    muzzle = c.smooth(
        (x + radius * 0.35, y - radius * 0.3),
        (x + radius * 0.85, y - 0.02),
        (end, y + 0.05 - thick * 0.4),
        (end + 0.01, y + 0.05 + thick * 0.8),
        (x + radius * 0.6, y + 0.08 + thick),
        (x + radius * 0.1, y + radius * 0.8),
    )
    canvas.fill(muzzle, b.belly if b.coat != "plain" else c.mix(b.base, b.belly, 0.4), shade=0.25)
    canvas.line(
        np.array([[end - 0.03, y + 0.07 + thick * 0.5], [x + radius * 0.75, y + 0.1 + thick * 0.6]]), b.nose, 0.02
    )
    canvas.fill(c.oval(end, y + 0.02, 0.05, 0.042), b.nose, shade=0)
    canvas.fill(c.oval(x + radius * 0.42, y - radius * 0.28, 0.046, 0.046), (0.92, 0.85, 0.72), shade=0)
    canvas.fill(c.oval(x + radius * 0.45, y - radius * 0.27, 0.036, 0.036), (0.05, 0.03, 0.02), shade=0)
    _draw_ear(canvas, b, (x, y), radius, c.mix(b.base, (0, 0, 0), 0.22))


def _draw_ear(canvas: c.Canvas, b: Breed, head: tuple[float, float], radius: float, colour: c.Colour) -> None:
    (x, y), long = head, 0.16 + 0.2 * b.ear
    if b.ears == "pricked":
        tip = (x - radius * 0.45, y - radius - long)
        ear = c.polygon((x - radius * 0.85, y - radius * 0.4), tip, (x + radius * 0.2, y - radius * 0.8))
    elif b.ears == "folded":
        top = (x - radius * 0.35, y - radius - 0.45 * long)
        ear = c.polygon((x - radius * 0.8, y - radius * 0.5), top, (x + radius * 0.35, y - radius * 0.55))
    else:
        turn = math.pi / 2 + 0.25
        ear = c.oval(x - radius * 0.62, y - radius * 0.25 + long * 0.6, long * 0.95, 0.1 + 0.04 * b.ear, turn)
    canvas.fill(ear, colour, shade=0.5)
