"""What one picture finds: the query with its box, then the results in order, each with the box it was found in."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from retrieval_bench.pictures.attention import Pixels
from retrieval_bench.pictures.ranked import Box, with_box
from retrieval_bench.pictures.sheet import draw_sheet, fitted

_SIDE, _COLUMNS, _LETTERS = 200, 6, 23


class Shown(NamedTuple):
    """One picture of the sheet.

    Attributes:
        picture: ``(H, W, 3)`` uint8, RGB.
        box: x1, y1, x2, y2 in pixels of the picture; None for none.
        name: What it is called; of a long name the end is shown.
    """

    picture: Pixels
    box: Box | None
    name: str


def found_sheet(query: Shown, results: Sequence[Shown]) -> Image.Image:
    """A sheet of six columns: the query first, then the results by their ranks.

    Args:
        query: What was asked.
        results: What was found, nearest first.
    """
    cells = [(_drawn(query), _short(query.name))]
    cells += [(_drawn(shown), f"{rank}  {_short(shown.name)}") for rank, shown in enumerate(results, start=1)]
    rows = [cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)]
    return draw_sheet(["query", *[""] * (min(_COLUMNS, len(cells)) - 1)], rows, width=_SIDE)


def _drawn(shown: Shown) -> Image.Image:
    return fitted(shown.picture, _SIDE) if shown.box is None else with_box(shown.picture, shown.box, _SIDE)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
