"""Saliency boxes drawn over pictures, as in Figure 6 of the adaptive triplet paper."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retrieval_bench.pictures.attention import Pixels, overlay

_GAP, _LINE, _SIDE = 10, 20, 224
_BOX = (255, 140, 0)


class SaliencyRow(NamedTuple):
    """What is drawn of one picture.

    Attributes:
        picture: ``(H, W, 3)`` uint8, RGB.
        grey: ``(s, s)`` uint8, the map over the whole picture.
        boxes: By title, x1, y1, x2, y2 in pixels of the picture.
    """

    picture: Pixels
    grey: Pixels
    boxes: Mapping[str, tuple[int, int, int, int]]


def saliency_sheet(rows: Sequence[SaliencyRow]) -> Image.Image:
    """One row a picture: its map, then its box in every column with the share of the picture inside.

    Args:
        rows: Pictures of any sizes, their longer side drawn at one length; all with boxes of the same titles.

    Raises:
        ValueError: If there is no picture, or the titles differ.
    """
    if not rows or any(row.boxes.keys() != rows[0].boxes.keys() for row in rows):
        raise ValueError("a saliency sheet needs at least one picture, and the same boxes of each")
    titles = ("map", *rows[0].boxes)
    cell, cells = _SIDE + _GAP, [_cells(row) for row in rows]
    heights = [_LINE + _GAP + drawn[0][0].height for drawn in cells]
    sheet = Image.new("RGB", (cell * len(titles) + _GAP, sum(heights) + _LINE + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * cell, _GAP // 2), title, fill="black", font=font)
    top = _GAP + _LINE
    for row, height in zip(cells, heights, strict=True):
        for column, (drawn, caption) in enumerate(row):
            left = _GAP + column * cell
            sheet.paste(drawn, (left, top))
            draw.text((left, top + drawn.height + 2), caption, fill="#555555", font=font)
        top += height
    return sheet


def _cells(row: SaliencyRow) -> list[tuple[Image.Image, str]]:
    height, width = row.picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(row.picture).resize(size, Image.Resampling.BICUBIC)
    grey = np.asarray(Image.fromarray(row.grey).resize(size, Image.Resampling.BILINEAR))
    cells = [(Image.fromarray(overlay(np.asarray(small), grey / 255)), "")]
    for x1, y1, x2, y2 in row.boxes.values():
        boxed = small.copy()
        corners = (x1 * scale, y1 * scale, x2 * scale - 1, y2 * scale - 1)
        ImageDraw.Draw(boxed).rectangle(corners, outline=_BOX, width=3)
        cells.append((boxed, f"{(x2 - x1) * (y2 - y1) / (width * height):.0%} of the picture"))
    return cells
