"""Boxes on a grid, by hand and by what they cover."""

import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.proposals import grid_boxes


@pytest.mark.parametrize(("height", "width"), [(600, 800), (1000, 600), (299, 299), (600, 1000), (33, 470), (2, 2)])
@pytest.mark.parametrize("count", [1, 7, 200, 1000])
def test_a_picture_of_any_size_has_just_so_many_different_boxes_inside_it(height: int, width: int, count: int) -> None:
    boxes = grid_boxes(height, width, count)

    assert boxes.shape == (count, 4)
    assert boxes.dtype == torch.float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([width, height]) * (1 + 1e-6)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(boxes.unique(dim=0)) == count


def test_the_first_boxes_of_a_square_picture_are_as_by_hand() -> None:
    # Level 1: the square of the whole picture is there already; of 100 / sqrt 2 by 100 sqrt 2, cut off at 100, two fit.
    short = 100 / 2**0.5
    rest = 100 - short
    expected = [[0, 0, 100, 100], [0, 0, short, 100], [rest, 0, 100, 100], [0, 0, 100, short], [0, rest, 100, 100]]
    torch.testing.assert_close(grid_boxes(100, 100, 5), torch.tensor(expected))


def test_a_turned_picture_has_turned_boxes() -> None:
    # Whole levels: the picture; of level 1, side 120, four squares, six upright and six lying boxes.
    whole_levels = 1 + 4 + 6 + 6
    flat = {tuple(box) for box in grid_boxes(120, 300, whole_levels).tolist()}
    steep = {(y1, x1, y2, x2) for x1, y1, x2, y2 in grid_boxes(300, 120, whole_levels).tolist()}
    assert flat == steep


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_objects_of_all_sizes_and_places_lie_in_a_box_that_fits_them(aspect: float, share: float) -> None:
    boxes = grid_boxes(600, 800)
    height, width = (share / aspect) ** 0.5 * 600, (share * aspect) ** 0.5 * 600
    for x in torch.linspace(0, 800 - min(width, 800), 6).tolist():
        for y in torch.linspace(0, 600 - min(height, 600), 6).tolist():
            one = torch.tensor([x, y, min(x + width, 800), min(y + height, 600)])
            inter = (torch.minimum(boxes[:, 2:], one[2:]) - torch.maximum(boxes[:, :2], one[:2])).clamp(0).prod(1)
            union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (one[2:] - one[:2]).prod() - inter
            assert (inter / union).max() > 0.4


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(OptionError, match="800x0"):
        grid_boxes(0, 800)
