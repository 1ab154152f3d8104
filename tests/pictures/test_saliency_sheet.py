"""Saliency boxes over pictures: places by hand."""

import numpy as np
import pytest

from retrieval_bench.pictures.saliency import SaliencyRow, saliency_sheet

BOX = [255, 140, 0]
GREY = np.zeros((8, 8), np.uint8)


def grey_picture(height, width, level):
    return np.full((height, width, 3), level, np.uint8)


def test_a_row_is_as_high_as_its_picture_and_a_column_is_for_a_box():
    rows = [
        SaliencyRow(grey_picture(448, 448, 10), GREY, {"alpha 0.2": (0, 0, 448, 448), "alpha 0.4": (0, 0, 9, 9)}),
        SaliencyRow(grey_picture(100, 200, 99), GREY, {"alpha 0.2": (0, 0, 200, 100), "alpha 0.4": (0, 0, 9, 9)}),
    ]
    # The longer side is always 224; 20 for a line of words, 10 for a gap.
    assert saliency_sheet(rows).size == (3 * 234 + 10, 30 + (224 + 30) + (112 + 30))


def test_a_box_is_drawn_where_it_is():
    picture = grey_picture(56, 112, 50)  # drawn at twice its size
    sheet = np.asarray(saliency_sheet([SaliencyRow(picture, GREY, {"alpha 0.4": (20, 10, 60, 40)})]))
    cell = sheet[30 : 30 + 112, 234 + 10 : 234 + 10 + 224]
    drawn = (cell == BOX).all(2)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert (columns[0], rows[0], columns[-1], rows[-1]) == (40, 20, 119, 79)
    assert not drawn[23:77, 43:117].any()
    assert (cell[23:77, 43:117] == 50).all()


def test_the_map_lies_over_the_whole_picture():
    grey = np.zeros((8, 8), np.uint8)
    grey[:, 4:] = 255
    sheet = np.asarray(saliency_sheet([SaliencyRow(grey_picture(224, 224, 0), grey, {"alpha 0.4": (0, 0, 9, 9)})]))
    cell = sheet[30 : 30 + 224, 10 : 10 + 224].astype(int)
    assert cell[:, :90].max() < 10
    assert (cell[:, 134:] == np.round(np.array([252, 255, 164]) * 0.6)).all()


def test_rows_of_different_boxes_are_refused():
    one = SaliencyRow(grey_picture(9, 9, 0), GREY, {"alpha 0.4": (0, 0, 9, 9)})
    for rows in ([], [one, one._replace(boxes={"alpha 0.2": (0, 0, 9, 9)})]):
        with pytest.raises(ValueError, match="the same boxes of each"):
            saliency_sheet(rows)
