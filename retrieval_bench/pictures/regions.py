"""Regions drawn over pictures with what each of them weighs: where regional attention looks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from retrieval_bench.pictures.attention import Pixels, Weights, heat, overlay
from retrieval_bench.pictures.sheet import draw_sheet, fitted

Box = tuple[float, float, float, float]
_SIDE = 320
_DRAWN = 5


class WeighedPicture(NamedTuple):
    """What is drawn of one picture.

    Attributes:
        picture: ``(H, W, 3)`` uint8, RGB.
        boxes: Its regions x1, y1, x2, y2 in pixels, the ends exclusive.
        weights: ``(R,)`` what each of them weighs.
    """

    picture: Pixels
    boxes: Sequence[Box]
    weights: Weights


def region_sheet(rows: Sequence[WeighedPicture]) -> Image.Image:
    """One row a picture: the picture, the mean weight of the regions over each pixel, the heaviest and the lightest.

    Args:
        rows: Pictures of any sizes, their longer side drawn at one length.

    Raises:
        ValueError: If there is no picture, or one has not as many boxes as weights.
    """
    if not rows or any(len(row.boxes) != len(row.weights) for row in rows):
        raise ValueError("a sheet of regions needs at least one picture, and one weight for each of its boxes")
    titles = ("picture", "mean weight of regions", f"{_DRAWN} heaviest regions", f"{_DRAWN} lightest regions")
    return draw_sheet(titles, [_cells(row) for row in rows], width=_SIDE)


def mean_weight(shape: tuple[int, int], boxes: Sequence[Box], weights: Weights) -> Weights:
    """The mean weight of the regions over each pixel ``(H, W)``; the least weight where there is none.

    Args:
        shape: Height and width.
        boxes: The regions.
        weights: What each weighs.
    """
    total, count = np.zeros(shape), np.zeros(shape)
    for (x1, y1, x2, y2), weight in zip(boxes, weights, strict=True):
        inside = np.s_[round(y1) : round(y2), round(x1) : round(x2)]
        total[inside] += weight
        count[inside] += 1
    return np.where(count > 0, total / np.maximum(count, 1), weights.min())


def _cells(row: WeighedPicture) -> list[tuple[Image.Image, str]]:
    over = mean_weight((row.picture.shape[0], row.picture.shape[1]), row.boxes, row.weights)
    order = np.argsort(-row.weights, kind="stable").tolist()
    cells = [(row.picture, ""), (overlay(row.picture, over), f"{over.min():.2f} to {over.max():.2f}")]
    images = [(fitted(pixels, _SIDE), caption) for pixels, caption in cells]
    for chosen in (order[:_DRAWN], order[-_DRAWN:]):
        weights = row.weights[chosen]
        images.append((_boxed(row, chosen), f"{weights.min():.2f} to {weights.max():.2f}"))
    return images


def _boxed(row: WeighedPicture, chosen: Sequence[int]) -> Image.Image:
    """The picture under some of its regions, each in the colour of its weight among all."""
    image = fitted(row.picture, _SIDE)
    draw, scale = ImageDraw.Draw(image), image.width / row.picture.shape[1]
    spread = max(float(np.ptp(row.weights)), 1e-12)
    for i in reversed(chosen):
        # Without the darkest tenth, which no picture would show.
        share = 0.1 + 0.9 * (row.weights[i] - row.weights.min()) / spread
        colour = tuple(heat(np.array([[share]]))[0, 0].tolist())
        x1, y1, x2, y2 = (value * scale for value in row.boxes[i])
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=3)
    return image
