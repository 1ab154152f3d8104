"""A chart's points lie where they belong."""

import numpy as np
import pytest

from retrieval_bench.pictures.curves import curve_chart

WORDS = {"title": "t", "x_label": "x", "y_label": "y"}
LEFT, RIGHT, TOP, BOTTOM = 70, 640 - 30, 66, 430 - 60


def test_a_line_goes_through_its_points():
    chart = curve_chart({"a": [(0, 1), (0.5, 0.5), (1, 0.5)]}, **WORDS)
    blue = (np.asarray(chart) == (0, 114, 178)).all(-1)
    for x, y in ((0, 1), (0.25, 0.75), (0.5, 0.5), (0.75, 0.5), (1, 0.5)):
        column, row = round(LEFT + x * (RIGHT - LEFT)), round(BOTTOM - y * (BOTTOM - TOP))
        assert blue[row - 2 : row + 3, column - 2 : column + 3].any()
    assert not blue[TOP + 5 : BOTTOM, LEFT + 300 : RIGHT][: (BOTTOM - TOP) // 2 - 10].any()


def test_the_second_line_is_dashed():
    chart = np.asarray(curve_chart({"a": [(0, 0.1), (1, 0.1)], "b": [(0, 0.9), (1, 0.9)]}, **WORDS))
    rows = [round(BOTTOM - y * (BOTTOM - TOP)) for y in (0.1, 0.9)]
    solid, dashed = (
        (chart[row, LEFT + 5 : RIGHT - 5] == colour).all(-1).mean()
        for row, colour in zip(rows, ((0, 114, 178), (213, 94, 0)), strict=True)
    )
    assert solid == 1
    assert 0.5 < dashed < 0.8


@pytest.mark.parametrize("curves", [{}, {"a": [(0, 1.2)]}])
def test_what_is_not_in_the_chart_is_refused(curves):
    with pytest.raises(ValueError, match="at least one curve"):
        curve_chart(curves, **WORDS)
