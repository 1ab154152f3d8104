"""Ranked results: frames by hand, and marks that do without colour."""

import numpy as np
import pytest

from retrieval_bench.pictures.ranked import Found, RankedQuery, ranked_sheet

GREY = np.full((300, 300, 3), 128, np.uint8)
COLOURS = {"good": (0, 158, 115), "ok": (86, 180, 233), "junk": (153, 153, 153), "wrong": (213, 94, 0)}
TOP, LEFT, CELL = 40 + 20, 2 * 10, 150 + 2 * 5 + 10


def sheet(*kinds, picture=GREY, box=(60, 60, 240, 240)):
    return ranked_sheet([RankedQuery("query 0", GREY, box, [Found(picture, kind) for kind in kinds])])


def test_frames_have_the_colour_of_their_kind():
    drawn = sheet(*COLOURS)
    for rank, (kind, colour) in enumerate(COLOURS.items(), start=1):
        x = LEFT + rank * CELL
        frame = [drawn.getpixel((x + along, TOP + 2)) for along in range(160)]
        assert colour in frame
        # Only what counts neither way has a broken frame.
        assert ((255, 255, 255) in frame) == (kind == "junk")
        assert drawn.getpixel((x + 80, TOP + 80)) == (128, 128, 128)


def test_kinds_differ_without_any_colour():
    marks = set()
    for kind in ("good", "ok", "junk", "wrong"):
        area = sheet(kind).convert("L").crop((LEFT + CELL, TOP + 160, LEFT + CELL + 16, TOP + 185))
        marks.add((np.asarray(area) < 250).tobytes())
    assert len(marks) == 4


def test_the_box_is_drawn_where_it_lies_also_at_the_edge():
    drawn = sheet("good", box=(0, 60, 300, 240))
    left, top = 10 + 5, TOP + 5
    assert drawn.getpixel((left + 75, top + 30)) == (0, 0, 0)
    assert drawn.getpixel((left + 75, top + 32)) == (255, 232, 0)
    assert drawn.getpixel((left + 149, top + 75)) == (0, 0, 0)
    assert drawn.getpixel((left + 75, top + 60)) == (128, 128, 128)


def test_pictures_keep_their_shape():
    drawn = sheet("good", picture=np.full((100, 300, 3), 128, np.uint8))
    x = LEFT + CELL + 80
    assert drawn.getpixel((x, TOP + 5 + 75)) == (128, 128, 128)
    assert drawn.getpixel((x, TOP + 5 + 40)) == (255, 255, 255)


def test_queries_with_different_numbers_of_results_are_refused():
    row = RankedQuery("query 0", GREY, (0, 0, 1, 1), [Found(GREY, "ok")])
    with pytest.raises(ValueError, match="as many results of each"):
        ranked_sheet([row, row._replace(found=[])])
