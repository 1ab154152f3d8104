"""Saliency boxes drawn over pictures, as in Figure 6 of the adaptive triplet paper."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from retrieval_bench.pictures.attention import Pixels, overlay
from retrieval_bench.pictures.sheet import draw_sheet, fitted

_SIDE = 224
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
    return draw_sheet(titles, [_cells(row) for row in rows], width=_SIDE)


def _cells(row: SaliencyRow) -> list[tuple[Image.Image, str]]:
    height, width = row.picture.shape[:2]
    scale, small = _SIDE / max(height, width), fitted(row.picture, _SIDE)
    grey = np.asarray(Image.fromarray(row.grey).resize(small.size, Image.Resampling.BILINEAR))
    cells = [(Image.fromarray(overlay(np.asarray(small), grey / 255)), "")]
    for x1, y1, x2, y2 in row.boxes.values():
        boxed = small.copy()
        corners = (x1 * scale, y1 * scale, x2 * scale - 1, y2 * scale - 1)
        ImageDraw.Draw(boxed).rectangle(corners, outline=_BOX, width=3)
        cells.append((boxed, f"{(x2 - x1) * (y2 - y1) / (width * height):.0%} of the picture"))
    return cells
