"""Attention over pictures: colours and places by hand."""

import numpy as np
import pytest

from retrieval_bench.pictures.attention import attention_sheet, heat, overlay


def test_colours_run_from_dark_to_bright():
    colours = heat(np.linspace(0, 1, 33)[None])[0].astype(float)
    assert colours[0].tolist() == [0, 0, 4]
    assert colours[-1].tolist() == [252, 255, 164]
    brightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()


def test_overlay_stretches_the_attention_over_its_own_range():
    picture = np.full((2, 2, 3), 100, np.uint8)
    drawn = overlay(picture, np.array([[0.94, 0.95], [0.95, 0.96]]), opacity=1.0)
    assert drawn[0, 0].tolist() == [0, 0, 4]
    assert drawn[1, 1].tolist() == [252, 255, 164]
    assert drawn[0, 1].tolist() == [186, 54, 85]


def test_a_constant_map_is_dark_and_not_a_division_by_zero():
    drawn = overlay(np.full((2, 3, 3), 100, np.uint8), np.full((2, 3), 0.95))
    assert (drawn == np.round(np.array([0, 0, 4]) * 0.6 + 100 * 0.4)).all()


def test_sheet_has_one_row_a_picture_and_one_column_a_block():
    pictures = [np.full((300, 240, 3), value, np.uint8) for value in (10, 200)]
    maps = {"block 3": [np.zeros((300, 240)), np.eye(300, 240)], "block 4": [np.zeros((300, 240))] * 2}
    sheet = np.asarray(attention_sheet(pictures, maps))
    assert sheet.shape == ((300 + 20 + 10) * 2 + 20 + 10, (240 + 10) * 3 + 10, 3)
    assert (sheet[30:330, 10:250] == 10).all()
    assert (sheet[360:660, 10:250] == 200).all()


def test_small_pictures_are_drawn_larger_by_a_whole_factor():
    sheet = attention_sheet([np.full((112, 112, 3), 10, np.uint8)], {"block 3": [np.zeros((112, 112))]})
    assert sheet.size == ((224 + 10) * 2 + 10, 224 + 20 + 10 + 20 + 10)


def test_a_missing_map_is_refused():
    with pytest.raises(ValueError, match="one map of every block"):
        attention_sheet([np.zeros((4, 4, 3), np.uint8)], {"block 3": []})
