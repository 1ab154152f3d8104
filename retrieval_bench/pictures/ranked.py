"""Ranked results: a query with its box, and what it found, framed and marked by what the ground truth says of it."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from retrieval_bench.pictures.attention import Pixels
from retrieval_bench.pictures.sheet import fitted

Box = tuple[float, float, float, float]
_SIDE, _GAP, _LINE, _FRAME = 150, 10, 20, 5
_SUREST = ("good", "easy")  # what Oxford and Paris, and their revisited forms, call the surest kind
# Colours of Okabe and Ito, which colour-blind eyes tell apart; marks and words say the same without any colour.
_COLOURS = {
    "good": "#009E73",
    "easy": "#009E73",
    "ok": "#56B4E9",
    "hard": "#56B4E9",
    "junk": "#999999",
    "wrong": "#D55E00",
}


class Found(NamedTuple):
    """One result.

    Attributes:
        picture: ``(H, W, 3)`` uint8, RGB.
        kind: What the ground truth calls it: ``good``, ``ok``, ``easy``, ``hard`` or ``junk``; otherwise ``wrong``.
    """

    picture: Pixels
    kind: str


class RankedQuery(NamedTuple):
    """A query and its first results.

    Attributes:
        title: What it is called.
        picture: ``(H, W, 3)`` uint8, RGB.
        box: x1, y1, x2, y2 in pixels of the picture.
        found: Its results, nearest first.
    """

    title: str
    picture: Pixels
    box: Box
    found: Sequence[Found]


def ranked_sheet(queries: Sequence[RankedQuery]) -> Image.Image:
    """One row a query: the query with its box, then its results in order; the kinds are explained above.

    Args:
        queries: With as many results each.

    Raises:
        ValueError: If there is no query, or their numbers of results differ.
    """
    if not queries or any(len(query.found) != len(queries[0].found) for query in queries):
        raise ValueError("a sheet of ranked results needs at least one query, and as many results of each")
    cell = _SIDE + 2 * _FRAME + _GAP
    kinds = [kind for kind in _COLOURS if any(found.kind == kind for query in queries for found in query.found)]
    size = ((1 + len(queries[0].found)) * cell + 3 * _GAP, len(queries) * (cell + 2 * _LINE) + _LINE + 2 * _GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    left = _GAP
    for kind in kinds:
        left = _label(draw, font, (left, _GAP), kind, kind) + 2 * _GAP
    top = _LINE + 2 * _GAP
    for query in queries:
        draw.text((_GAP, top), query.title, fill="black", font=font)
        _paste(sheet, (_GAP, top + _LINE), with_box(query.picture, query.box))
        for rank, found in enumerate(query.found, start=1):
            left = 2 * _GAP + rank * cell
            area = _paste(sheet, (left, top + _LINE), fitted(found.picture, _SIDE))
            _frame(draw, area, found.kind)
            _label(draw, font, (left, top + cell + _LINE - _GAP + 2), found.kind, f"{rank}  {found.kind}")
        top += cell + 2 * _LINE
    return sheet


def with_box(picture: Pixels, box: Box, side: int = _SIDE) -> Image.Image:
    """A picture fitted to ``side`` with a box in its own pixels drawn on it."""
    small = fitted(picture, side)
    scale = small.width / picture.shape[1], small.height / picture.shape[0]
    limits = small.width - 1, small.height - 1
    x1, y1, x2, y2 = (min(round(v * scale[i % 2]), limits[i % 2]) for i, v in enumerate(box))
    x2, y2 = max(x2, x1 + 2), max(y2, y1 + 2)  # a box of a pixel is seen, too
    draw = ImageDraw.Draw(small)
    # Dark beside bright: one of them is seen on any picture.
    draw.rectangle((x1, y1, x2, y2), outline="black", width=4)
    draw.rectangle((x1 + 1, y1 + 1, x2 - 1, y2 - 1), outline="#FFE800", width=2)
    return small


def _paste(sheet: Image.Image, corner: tuple[int, int], image: Image.Image) -> tuple[int, int, int, int]:
    """Centre a picture in its cell; returns where it lies."""
    left = corner[0] + _FRAME + (_SIDE - image.width) // 2
    top = corner[1] + _FRAME + (_SIDE - image.height) // 2
    sheet.paste(image, (left, top))
    return left, top, left + image.width, top + image.height


def _frame(draw: ImageDraw.ImageDraw, area: tuple[int, int, int, int], kind: str) -> None:
    """Full for what was to be found, dashed for what counts neither way, full with a cross for what is wrong."""
    left, top, right, bottom = area
    outer = (left - _FRAME, top - _FRAME, right + _FRAME - 1, bottom + _FRAME - 1)
    draw.rectangle(outer, outline=_COLOURS[kind], width=_FRAME)
    if kind == "junk":
        for x in range(outer[0] + 6, outer[2], 12):
            draw.rectangle((x, outer[1], x + 5, outer[1] + _FRAME - 1), fill="white")
            draw.rectangle((x, outer[3] - _FRAME + 1, x + 5, outer[3]), fill="white")
        for y in range(outer[1] + 6, outer[3], 12):
            draw.rectangle((outer[0], y, outer[0] + _FRAME - 1, y + 5), fill="white")
            draw.rectangle((outer[2] - _FRAME + 1, y, outer[2], y + 5), fill="white")


def _label(
    draw: ImageDraw.ImageDraw,
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
    at: tuple[int, int],
    kind: str,
    text: str,
) -> int:
    """A mark and words; returns where they end.

    A disc is good or easy, a ring ok or hard, a dash junk, a cross wrong.
    """
    x, y = at[0] + 1, at[1] + 3
    colour, end = _COLOURS[kind], (x + 11, y + 11)
    if kind == "wrong":
        draw.line((x, y, *end), fill=colour, width=3)
        draw.line((x, end[1], end[0], y), fill=colour, width=3)
    elif kind == "junk":
        draw.line((x, y + 6, end[0], y + 6), fill=colour, width=3)
    else:
        draw.ellipse((x, y, *end), fill=colour if kind in _SUREST else None, outline=colour, width=3)
    draw.text((x + 17, at[1]), text, fill="black", font=font)
    return x + 17 + round(draw.textlength(text, font=font))
