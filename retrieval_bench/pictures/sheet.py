"""Sheets: rows of pictures with a caption under each, and a title above every column."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE = 10, 20


def fitted(picture: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """A picture ``(H, W, 3)``, its longer side made ``side`` pixels long."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)


def draw_sheet(titles: Sequence[str], rows: Sequence[Sequence[tuple[Image.Image, str]]], *, width: int) -> Image.Image:
    """Rows of pictures with their captions; a row is as high as its highest picture.

    Args:
        titles: One a column.
        rows: As many pictures each.
        width: Of a column in pixels.
    """
    heights = [max(image.height for image, _ in cells) + _LINE + _GAP for cells in rows]
    sheet = Image.new("RGB", ((width + _GAP) * len(titles) + _GAP, sum(heights) + _LINE + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * (width + _GAP), _GAP // 2), title, fill="black", font=font)
    top = _GAP + _LINE
    for cells, height in zip(rows, heights, strict=True):
        for column, (image, caption) in enumerate(cells):
            left = _GAP + column * (width + _GAP)
            sheet.paste(image, (left, top))
            draw.text((left, top + image.height + 2), caption, fill="#555555", font=font)
        top += height
    return sheet
