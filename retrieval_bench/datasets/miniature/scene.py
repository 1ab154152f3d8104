"""What is around the object: backgrounds, poses, clutter and light, all drawn without knowing the class."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from retrieval_bench.datasets.miniature.canvas import Colour, Pose, mix, to_bytes

Rng = np.random.Generator


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (turns), saturation and value in [0, 1]."""
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))


def between(rng: Rng, low: float, high: float) -> float:
    """A number drawn evenly from an interval."""
    return float(rng.uniform(low, high))


def picture_size(rng: Rng) -> tuple[int, int]:
    """Width and height of a photo, wide, square or tall."""
    return [(152, 114), (144, 108), (132, 132), (114, 144)][int(rng.integers(4))]


def pose(rng: Rng, size: tuple[int, int], *, fill: tuple[float, float], turn: float) -> Pose:
    """A random place, size and turn of an object about two units wide.

    Args:
        rng: Where chance comes from.
        size: Width and height of the picture.
        fill: Least and largest share of the picture's shorter side that one unit takes.
        turn: Largest turn in radians.
    """
    scale = between(rng, *fill) * min(size)
    slack = [max(side / 2 - 1.1 * scale, 0.04 * side) for side in size]
    return Pose(
        centre=(
            size[0] / 2 + between(rng, -slack[0], slack[0]),
            size[1] / 2 + between(rng, -slack[1], slack[1]),
        ),
        scale=scale,
        angle=between(rng, -turn, turn),
        mirrored=bool(rng.integers(2)),
        squash=between(rng, 0.85, 1.05),
        shear=between(rng, -0.12, 0.12),
    )


def outdoors(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Sky, leaves, water or ground out of focus."""
    hue = [0.55, 0.3, 0.25, 0.5, 0.1, 0.08][int(rng.integers(6))] + between(rng, -0.05, 0.05)
    top = hsv(hue, between(rng, 0.08, 0.35), between(rng, 0.65, 0.95))
    bottom = hsv(hue + between(rng, -0.12, 0.12), between(rng, 0.1, 0.4), between(rng, 0.5, 0.85))
    image = _gradient(size, top, bottom)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 22))):
        colour = hsv(hue + between(rng, -0.15, 0.15), between(rng, 0.1, 0.4), between(rng, 0.45, 0.95))
        _blob(draw, rng, size, colour, between(rng, 0.03, 0.22))
    image = image.filter(ImageFilter.GaussianBlur(between(rng, 1.5, 6.0)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 5))):
        colour = hsv(between(rng, 0.05, 0.35), between(rng, 0.2, 0.6), between(rng, 0.2, 0.6))
        _twig(draw, rng, size, colour)
    return image.filter(ImageFilter.GaussianBlur(between(rng, 0.3, 1.2)))


def street(rng: Rng, size: tuple[int, int], horizon: float) -> Image.Image:
    """A road below the horizon; sky, walls and trees above it."""
    width, height = size
    y = int(horizon * height)
    sky = hsv(between(rng, 0.52, 0.62), between(rng, 0.02, 0.3), between(rng, 0.8, 1.0))
    image = _gradient(size, sky, mix(sky, (1.0, 1.0, 1.0), 0.5))
    draw = ImageDraw.Draw(image)
    x = -between(rng, 0, 30)
    while x < width:
        wide, high = between(rng, 14, 50), between(rng, 0.15, 0.95) * y
        colour = hsv(between(rng, 0, 1), between(rng, 0.03, 0.25), between(rng, 0.45, 0.9))
        if rng.random() < 0.3:
            draw.ellipse([x, y - high, x + wide, y + 8], fill=to_bytes(hsv(between(rng, 0.2, 0.4), 0.5, 0.5)))
        else:
            draw.rectangle([x, y - high, x + wide, y + 2], fill=to_bytes(colour))
        x += wide * between(rng, 0.8, 1.6)
    image = image.filter(ImageFilter.GaussianBlur(between(rng, 1.0, 3.0)))
    grey = hsv(between(rng, 0, 1), between(rng, 0.0, 0.06), between(rng, 0.5, 0.75))
    image.paste(_gradient((width, height - y), mix(grey, (1.0, 1.0, 1.0), 0.15), grey), (0, y))
    if rng.random() < 0.5:
        line = y + between(rng, 0.5, 0.9) * (height - y)
        ImageDraw.Draw(image).line([(0, line), (width, line)], fill=(235, 230, 200), width=2)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def room(rng: Rng, size: tuple[int, int], *, plain: float = 0.4) -> Image.Image:
    """A wall and a floor, or the seamless paper of a studio.

    Args:
        rng: Where chance comes from.
        size: Width and height of the picture.
        plain: How often it is the studio.
    """
    width, height = size
    if rng.random() < plain:
        light = hsv(between(rng, 0, 1), between(rng, 0.0, 0.05), between(rng, 0.88, 1.0))
        return _gradient(size, light, mix(light, (0.6, 0.6, 0.6), between(rng, 0.0, 0.3)))
    wall = hsv(between(rng, 0, 1), between(rng, 0.03, 0.28), between(rng, 0.65, 0.95))
    floor = hsv(between(rng, 0.02, 0.14), between(rng, 0.1, 0.4), between(rng, 0.45, 0.8))
    image = _gradient(size, wall, mix(wall, (0.2, 0.2, 0.2), 0.2))
    y = int(between(rng, 0.6, 0.85) * height)
    image.paste(_gradient((width, height - y), floor, mix(floor, (0.1, 0.1, 0.1), 0.25)), (0, y))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 5))):
        colour = hsv(between(rng, 0, 1), between(rng, 0.1, 0.6), between(rng, 0.3, 0.95))
        x, top = between(rng, -10, width), between(rng, 0, y * 0.7)
        draw.rectangle([x, top, x + between(rng, 10, 45), top + between(rng, 8, 35)], fill=to_bytes(colour))
    return image.filter(ImageFilter.GaussianBlur(between(rng, 0.8, 2.5)))


def photograph(image: Image.Image, rng: Rng, *, clutter: float = 0.35) -> Image.Image:
    """Something in front of the object now and then, light from one side, a cast of colour, grain.

    Args:
        image: The finished drawing.
        rng: Where chance comes from.
        clutter: How often something is in the way.
    """
    width, height = image.size
    if rng.random() < clutter:
        mask = Image.new("L", image.size)
        _blob(ImageDraw.Draw(mask), rng, image.size, None, between(rng, 0.05, 0.12))
        mask = mask.filter(ImageFilter.GaussianBlur(between(rng, 0.8, 3.0)))
        image.paste(to_bytes(hsv(between(rng, 0, 1), between(rng, 0.1, 0.6), between(rng, 0.2, 0.9))), mask=mask)
    angle = between(rng, 0, 2 * math.pi)
    x = np.linspace(-0.5, 0.5, width) * math.cos(angle)
    y = np.linspace(-0.5, 0.5, height)[:, None] * math.sin(angle)
    light = between(rng, 0.85, 1.12) * (1.0 + between(rng, 0.0, 0.35) * (x + y))
    cast = np.array([between(rng, 0.93, 1.07) for _ in range(3)])
    pixels = np.asarray(image, dtype=np.float32) * (light[..., None] * cast).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(between(rng, 1.0, 5.0))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    ramp = np.linspace(0.0, 1.0, size[1])[:, None, None]
    pixels = np.asarray(top) + ramp * (np.asarray(bottom) - np.asarray(top))
    return Image.fromarray(np.broadcast_to(pixels * 255, (size[1], size[0], 3)).astype(np.uint8))


def _blob(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], colour: Colour | None, share: float) -> None:
    x, y = between(rng, 0, size[0]), between(rng, 0, size[1])
    rx = share * size[0] * between(rng, 0.6, 1.6)
    ry = share * size[1] * between(rng, 0.6, 1.6)
    draw.ellipse([x - rx, y - ry, x + rx, y + ry], fill=255 if colour is None else to_bytes(colour))


def _twig(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], colour: Colour) -> None:
    x, y = between(rng, 0, size[0]), between(rng, 0, size[1])
    angle, points = between(rng, 0, 2 * math.pi), [(x, y)]
    for _ in range(4):
        angle += between(rng, -0.4, 0.4)
        x, y = x + 0.25 * size[0] * math.cos(angle), y + 0.25 * size[1] * math.sin(angle)
        points.append((x, y))
    draw.line(points, fill=to_bytes(colour), width=int(rng.integers(1, 4)), joint="curve")
