"""Birds for the miniature of CUB-200-2011: every species has its own build, bill, tail, plumage and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.scene import Rng, between, hsv

_PLUMAGES = ("plain", "bars", "streaks", "spots", "scales", "zigzag")


@dataclass(frozen=True)
class Species:
    """What tells a species from the others; numbers without a unit are in [0, 1]."""

    slimness: float
    head: float
    bill_length: float
    bill_depth: float
    bill_curve: float
    tail_length: float
    tail_fork: float
    crest: float
    legs: float
    back: c.Colour
    belly: c.Colour
    cap: c.Colour
    bill: c.Colour
    mark: c.Colour
    plumage: str
    grain: float

    @classmethod
    def from_strata(cls, row: list[float]) -> Species:
        """A species from 14 numbers spread over [0, 1)."""
        hue, belly, cap = row[7], row[8], row[9]
        dark = 0.25 + 0.6 * row[10]
        back = hsv(hue, 0.25 + 0.55 * row[11], dark)
        return cls(
            slimness=row[0],
            head=row[1],
            bill_length=row[2] ** 1.5,
            bill_depth=row[3],
            bill_curve=row[4] - 0.4,
            tail_length=row[5],
            tail_fork=row[6],
            crest=max(0.0, 2.5 * row[12] - 1.5),
            legs=row[13],
            back=back,
            belly=hsv(hue + 0.5 * belly, 0.1 + 0.6 * row[6], 0.95 - 0.25 * row[3]),
            cap=hsv(cap, 0.8, 0.75) if cap > 0.45 else c.mix(back, (0.05, 0.05, 0.05), 0.7 * row[4]),
            bill=hsv(0.02 + 0.14 * row[12], 0.85 * row[1], 0.25 + 0.65 * row[13]),
            mark=(0.08, 0.07, 0.07) if dark > 0.55 else (0.93, 0.9, 0.82),
            plumage=_PLUMAGES[int(row[14] * len(_PLUMAGES))],
            grain=row[2],
        )

    def pattern(self) -> c.Pattern | None:
        """Where the wing shows its marks."""
        period = 0.14 + 0.14 * self.grain
        return {
            "plain": None,
            "bars": c.stripes(period, math.pi / 2 + 0.3),
            "streaks": c.stripes(0.75 * period, 0.15),
            "spots": c.dots(1.1 * period, 0.32),
            "scales": c.scales(1.2 * period),
            "zigzag": c.zigzag(1.2 * period),
        }[self.plumage]


STRATA = 15


def draw_bird(species: Species, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draw one picture of a species.

    Args:
        species: What to draw.
        rng: Where the pose, the place, the light and the background come from.

    Returns:
        The picture, and the bird's box in it: left, top, right, bottom.
    """
    size = scene.picture_size(rng)
    canvas = c.Canvas(scene.outdoors(rng, size), scene.pose(rng, size, fill=(0.34, 0.45), turn=0.35))
    _perch(canvas, rng)
    _draw_body(canvas, species, rng)
    return scene.photograph(canvas.finish(), rng), canvas.box()


def _perch(canvas: c.Canvas, rng: Rng) -> None:
    if rng.random() < 0.7:
        lean, colour = between(rng, -0.25, 0.25), hsv(between(rng, 0.04, 0.12), 0.4, between(rng, 0.2, 0.5))
        branch = np.array([[-4.0, 0.86 - 4 * lean], [-0.3, 0.84], [0.4, 0.84], [4.0, 0.88 + 4 * lean]])
        canvas.line(branch, colour, between(rng, 0.07, 0.16), counts=False)


def _draw_body(canvas: c.Canvas, s: Species, rng: Rng) -> None:
    tall = 0.60 - 0.22 * s.slimness
    nod, wag = between(rng, -0.15, 0.15), between(rng, -0.12, 0.12)
    pattern = s.pattern()
    # Tail, behind everything.
    length, spread = 0.35 + 0.75 * s.tail_length, 0.10 + 0.06 * s.slimness
    end, notch = -0.72 - length, 0.02 + 0.22 * s.tail_fork * length
    tail = c.polygon(
        (-0.5, -0.08),
        (end, 0.10 - spread + wag),
        (end + notch, 0.14 + wag),
        (end, 0.18 + spread + wag),
        (-0.5, 0.22),
    )
    canvas.fill(tail, c.mix(s.back, (0, 0, 0), 0.3), second=s.mark, pattern=pattern)
    # Legs.
    foot = 0.55 + 0.3 * s.legs
    for x in (-0.05, 0.15):
        canvas.line(np.array([[x, tall * 0.7], [x + 0.05, foot + 0.1], [x + 0.16, foot + 0.12]]), s.bill, 0.05)
    # Body and belly.
    back = c.smooth(
        (-0.85, 0.05), (-0.3, -tall * 0.85), (0.45, -tall * 0.9), (0.8, -0.05), (0.4, tall * 0.85), (-0.3, tall * 0.8)
    )
    canvas.fill(back, s.back)
    belly = c.smooth((-0.6, 0.18), (0.1, 0.05), (0.76, -0.02), (0.42, tall * 0.84), (-0.28, tall * 0.78))
    canvas.fill(belly, s.belly)
    # Head, crest, cap, bill, eye.
    radius = 0.24 + 0.12 * s.head
    x, y = 0.68 + 0.1 * s.slimness, -tall * 0.75 - 0.12 + nod
    if s.crest > 0:
        tip = (x - radius - 0.45 * s.crest, y - radius - 0.35 * s.crest)
        canvas.fill(c.polygon((x + 0.1, y - radius * 0.9), tip, (x - radius, y)), s.cap)
    long, deep = 0.14 + 0.62 * s.bill_length, 0.07 + 0.13 * s.bill_depth
    drop = 0.3 * s.bill_curve * long
    upper = c.polygon(
        (x + radius * 0.6, y - deep),
        (x + radius + long * 0.6, y - deep * 0.5 + drop * 0.3),
        (x + radius + long, y + drop + deep * 0.3),
        (x + radius + long * 0.5, y + deep * 0.6 + drop * 0.5),
        (x + radius * 0.6, y + deep),
    )
    canvas.fill(upper, s.bill)
    canvas.fill(c.oval(x, y, radius * 1.08, radius), s.back)
    canvas.fill(
        c.smooth(
            (x - radius, y - 0.02),
            (x - radius * 0.5, y - radius),
            (x + radius * 0.5, y - radius),
            (x + radius, y - 0.05),
            (x, y - radius * 0.3),
        ),
        s.cap,
    )
    canvas.fill(c.oval(x + radius * 0.35, y - radius * 0.1, 0.062, 0.062), (0.95, 0.92, 0.8), shade=0)
    canvas.fill(c.oval(x + radius * 0.37, y - radius * 0.1, 0.042, 0.042), (0.03, 0.03, 0.03), shade=0)
    # Wing, folded or lifted.
    lift = between(rng, 0.0, 0.25) if rng.random() < 0.75 else between(rng, 0.9, 1.5)
    if lift < 0.5:
        wing = c.smooth(
            (0.42, -0.22),
            (0.2, 0.12 * tall + 0.1),
            (-0.45, 0.16),
            (-1.05, 0.12 - lift),
            (-0.4, -0.3 - lift * 0.4),
            (0.1, -0.36),
        )
    else:
        wing = c.smooth(
            (0.4, -0.2), (-0.2, 0.0), (-0.75, -0.5 * lift), (-0.85, -0.95 * lift), (-0.1, -0.6 * lift - 0.2)
        )
    canvas.fill(wing, c.mix(s.back, (0, 0, 0), 0.18), second=s.mark, pattern=pattern, shade=0.5)
