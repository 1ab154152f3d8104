"""A small supersampled canvas: parts of an object placed in a picture, filled with colour, pattern and shade."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Points = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
Pattern = Callable[[Points, Points], Points]
"""From object coordinates u and v to the share of the second colour, in [0, 1]."""

OVERSAMPLING = 2


@dataclass(frozen=True)
class Pose:
    """Where an object stands in a picture.

    Attributes:
        centre: x and y of the object's origin, in pixels.
        scale: Pixels per object unit.
        angle: Turn in radians, clockwise on the screen.
        mirrored: Whether left and right are exchanged.
        squash: Width over true width, as seen from aside.
        shear: Lean of the vertical axis.
    """

    centre: tuple[float, float]
    scale: float
    angle: float = 0.0
    mirrored: bool = False
    squash: float = 1.0
    shear: float = 0.0

    def matrix(self) -> Points:
        """The 2 x 3 map from object units to pixels."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        width = self.squash * (-1.0 if self.mirrored else 1.0)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.array([[width, self.shear], [0.0, 1.0]])
        return np.column_stack([turn * self.scale, self.centre])


class Canvas:
    """A picture in the making.

    Args:
        background: The picture to draw on, in its final size.
        pose: Where the object stands.
    """

    def __init__(self, background: Image.Image, pose: Pose) -> None:
        self.size = background.size
        self._image = background.resize(
            (background.width * OVERSAMPLING, background.height * OVERSAMPLING), Image.Resampling.BILINEAR
        )
        self._to_pixels = pose.matrix() * OVERSAMPLING
        self._to_object = np.linalg.inv(self._to_pixels[:, :2])
        self._corners: list[Points] = []

    def fill(
        self,
        outline: Points,
        colour: Colour,
        *,
        second: Colour | None = None,
        pattern: Pattern | None = None,
        shade: float = 0.35,
        counts: bool = True,
    ) -> None:
        """Fill an outline.

        Args:
            outline: ``(n, 2)`` corners in object units.
            colour: Red, green and blue in [0, 1].
            second: The colour of the pattern.
            pattern: Where the second colour shows.
            shade: How much darker the outline's lower end is than its upper end.
            counts: Whether the part belongs to the object's bounding box.
        """
        corners = outline @ self._to_pixels[:, :2].T + self._to_pixels[:, 2]
        if counts:
            self._corners.append(corners)
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
        right = min(int(corners[:, 0].max()) + 2, self._image.width)
        bottom = min(int(corners[:, 1].max()) + 2, self._image.height)
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon((corners - (left, top)).ravel().tolist(), fill=255)
        layer = self._layer(outline, colour, second, pattern, shade, (int(left), int(top), right, bottom))
        self._image.paste(layer, (int(left), int(top)), mask)

    def _layer(
        self,
        outline: Points,
        colour: Colour,
        second: Colour | None,
        pattern: Pattern | None,
        shade: float,
        box: tuple[int, int, int, int],
    ) -> Image.Image:
        left, top, right, bottom = box
        x = np.arange(left, right) + 0.5 - self._to_pixels[0, 2]
        y = (np.arange(top, bottom) + 0.5 - self._to_pixels[1, 2])[:, None]
        u = self._to_object[0, 0] * x + self._to_object[0, 1] * y
        v = self._to_object[1, 0] * x + self._to_object[1, 1] * y
        low, high = outline[:, 1].min(), outline[:, 1].max()
        light = 1.0 + shade * (0.4 - (v - low) / max(high - low, 1e-6))
        base = np.asarray(colour)
        if pattern is not None and second is not None:
            paint = base + pattern(u, v)[..., None] * (np.asarray(second) - base)
        else:
            paint = np.broadcast_to(base, (*u.shape, 3))
        return Image.fromarray((np.clip(paint * light[..., None], 0.0, 1.0) * 255).astype(np.uint8))

    def line(self, points: Points, colour: Colour, width: float, *, counts: bool = True) -> None:
        """Draw a line of a width in object units."""
        corners = points @ self._to_pixels[:, :2].T + self._to_pixels[:, 2]
        if counts:
            self._corners.append(corners)
        pixels = max(1, round(width * float(np.sqrt(abs(np.linalg.det(self._to_pixels[:, :2]))))))
        ImageDraw.Draw(self._image).line(corners.ravel().tolist(), fill=to_bytes(colour), width=pixels, joint="curve")

    def shadow(self, outline: Points, strength: float, blur: float) -> None:
        """Darken what lies under an outline, with soft edges."""
        corners = outline @ self._to_pixels[:, :2].T + self._to_pixels[:, 2]
        mask = Image.new("L", self.size)
        ImageDraw.Draw(mask).polygon((corners / OVERSAMPLING).ravel().tolist(), fill=255)
        mask = mask.filter(ImageFilter.GaussianBlur(blur)).resize(self._image.size, Image.Resampling.BILINEAR)
        dark = mask.point([round(255 - strength * i) for i in range(256)])
        self._image = ImageChops.multiply(self._image, Image.merge("RGB", (dark, dark, dark)))

    def box(self) -> tuple[int, int, int, int]:
        """The object's bounding box inside the picture: left, top, right, bottom in whole pixels."""
        corners = np.concatenate(self._corners) / OVERSAMPLING
        low = np.clip(np.floor(corners.min(axis=0)), 0, np.array(self.size) - 2).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)), low + 1, self.size).astype(int)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def finish(self) -> Image.Image:
        """The picture in its final size, edges smoothed."""
        return self._image.reduce(OVERSAMPLING)


def to_bytes(colour: Colour) -> tuple[int, int, int]:
    """A colour as PIL draws it."""
    red, green, blue = (round(255 * min(max(x, 0.0), 1.0)) for x in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def polygon(*corners: tuple[float, float]) -> Points:
    """An outline from its corners."""
    return np.array(corners, dtype=np.float64)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """An outline from two corners."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def oval(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Points:
    """An ellipse, turned clockwise by an angle in radians."""
    turn = np.linspace(0.0, 2 * math.pi, 40, endpoint=False)
    a, b = rx * np.cos(turn), ry * np.sin(turn)
    return np.column_stack(
        [x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle)]
    )


def smooth(*corners: tuple[float, float], steps: int = 8) -> Points:
    """A closed Catmull-Rom curve through its corners."""
    p1 = np.array(corners, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    points: Points = curve.reshape(-1, 2)
    return points


def stripes(period: float, angle: float, share: float = 0.45) -> Pattern:
    """Parallel stripes."""
    a, b = math.cos(angle) / period, math.sin(angle) / period
    return lambda u, v: (np.mod(a * u + b * v, 1.0) < share).astype(np.float64)


def dots(period: float, share: float = 0.3) -> Pattern:
    """Round dots on a grid whose rows are offset."""

    def pattern(u: Points, v: Points) -> Points:
        row = np.floor(v / period)
        x = np.mod(u / period + 0.5 * row, 1.0) - 0.5
        y = np.mod(v / period, 1.0) - 0.5
        return (x * x + y * y < share * share).astype(np.float64)

    return pattern


def checks(period: float) -> Pattern:
    """A woven check: where two bands of stripes cross, they are full."""
    return lambda u, v: 0.5 * (np.mod(u / period, 1.0) < 0.5) + 0.5 * (np.mod(v / period, 1.0) < 0.5)


def zigzag(period: float) -> Pattern:
    """Rows of chevrons."""
    return lambda u, v: (np.mod(v / period + np.abs(np.mod(u / period, 1.0) - 0.5), 1.0) < 0.45).astype(np.float64)


def scales(period: float) -> Pattern:
    """Overlapping scales, each with a dark rim."""

    def pattern(u: Points, v: Points) -> Points:
        row = np.floor(v / period)
        x = np.mod(u / period + 0.5 * np.mod(row, 2.0), 1.0) - 0.5
        y = np.mod(v / period, 1.0)
        rim: Points = np.clip((x * x + y * y - 0.28) * 5.0, 0.0, 1.0)
        return rim

    return pattern
