"""Clusters over pictures: colours and lines by hand."""

import numpy as np
import pytest

from retrieval_bench.pictures.clusters import ClusteredPicture, cluster_colour, cluster_sheet, clusters_over


def test_each_cell_has_its_clusters_colour_over_grey_and_a_line_parts_the_clusters():
    picture = np.full((8, 12, 3), (30, 100, 50), np.uint8)
    drawn = clusters_over(picture, np.array([[0, 1], [0, 0]]))
    first, second = (np.round(np.array(cluster_colour(k)) * 0.55 + 60 * 0.45) for k in (0, 1))
    assert (drawn[:4, :6] == first).all()
    assert (drawn[:4, 7:] == second).all()
    assert (drawn[:4, 6] == 255).all()
    assert (drawn[4, 6:] == 255).all()
    assert (drawn[5:, :] == first).all()


def test_twenty_colours_are_told_apart():
    colours = np.array([cluster_colour(k) for k in range(20)], int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(20, dtype=int)
    assert apart.min() >= 40


def test_one_row_a_picture_in_its_own_shape_and_one_column_a_cut():
    rows = [
        ClusteredPicture(np.full(size, 90, np.uint8), np.eye(3, 4), {"features 2": np.eye(3, 4, dtype=int)})
        for size in ((320, 160, 3), (100, 200, 3))
    ]
    sheet = cluster_sheet(rows)
    assert sheet.size == ((320 + 10) * 3 + 10, (320 + 30) + (160 + 30) + 30)
    assert sheet.getpixel((10 + 80, 30 + 160)) == (90, 90, 90)
    assert sheet.getpixel((10 + 160, 30 + 350 + 80)) == (90, 90, 90)


def test_cuts_that_differ_are_refused():
    row = ClusteredPicture(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2)), {"a": np.zeros((2, 2), int)})
    with pytest.raises(ValueError, match="the same cuts of each"):
        cluster_sheet([row, row._replace(clusters={})])
