"""Precision of regions: shares counted by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.nn.region_precision import cells_in_box, precision_of_clusters, share_at_least


def test_a_cell_is_inside_if_its_centre_is():
    # Cells of 10 by 20 pixels; centres at x 5, 15, 25, 35 and y 10, 30.
    inside = cells_in_box((6, 9, 25, 29), (40, 40), (2, 4))
    assert inside.tolist() == [[False, True, True, False], [False] * 4]


@given(st.floats(0, 39), st.floats(0, 39), st.floats(0, 5), st.floats(0, 5))
def test_every_box_has_a_cell_and_the_whole_picture_has_all(x, y, wide, high):
    assert cells_in_box((x, y, x + wide, y + high), (40, 40), (3, 5)).any()
    assert cells_in_box((0, 0, 40, 40), (40, 40), (3, 5)).all()


def test_precision_is_the_share_of_a_clusters_cells():
    label = torch.tensor([[0, 0, 3], [0, 3, 3]])
    inside = torch.tensor([[True, False, True], [True, True, True]])
    # Cluster 0 has two of three cells inside, cluster 3 all; 1 and 2 have no cell.
    assert precision_of_clusters(label, inside).tolist() == pytest.approx([2 / 3, 1])
    assert precision_of_clusters(label, ~inside).tolist() == pytest.approx([1 / 3, 0])


def test_the_curve_counts_what_is_at_the_threshold():
    precision = torch.tensor([0.0, 0.5, 0.5, 1.0])
    assert share_at_least(precision, [0, 0.5, 0.75, 1]) == [1, 0.75, 0.25, 0.25]
