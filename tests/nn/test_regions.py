"""R-MAC's grid in whole cells, against numbers by hand and the formula in floating point."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.nn.regions import (
    Region,
    max_labelled,
    max_regions,
    mean_regions,
    picture_regions,
    rmac_regions,
)


def squares(height, width, levels=3):
    return [(r.x, r.y, r.width) for r in rmac_regions(height, width, levels)]


def test_regions_of_a_common_map_by_hand():
    expected = [(0, 0, 24), (8, 0, 24)]
    expected += [(x, y, 16) for y in (0, 8) for x in (0, 8, 16)]
    expected += [(x, y, 12) for y in (0, 6, 12) for x in (0, 6, 13, 20)]
    assert squares(24, 32) == expected
    assert squares(7, 7) == [(0, 0, 7)] + [(x, y, 4) for y in (0, 3) for x in (0, 3)] + [
        (x, y, 3) for y in (0, 2, 4) for x in (0, 2, 4)
    ]


@pytest.mark.parametrize(("levels", "square", "wide"), [(1, 1, 2), (2, 5, 8), (3, 14, 20), (5, 55, 70)])
def test_how_many_regions_there_are(levels, square, wide):
    for side in (10, 24, 31):
        assert len(squares(side, side, levels)) == square
    for height, width in ((24, 32), (32, 24), (30, 31), (48, 64), (10, 18)):
        assert len(squares(height, width, levels)) == wide


@pytest.mark.parametrize(
    ("height", "width", "first_level"), [(50, 90, 2), (50, 91, 3), (50, 122, 3), (50, 123, 4), (123, 50, 4), (9, 9, 1)]
)
def test_longer_maps_get_more_squares_on_the_longer_side(height, width, first_level):
    assert len(squares(height, width, 1)) == first_level


def test_no_square_is_smaller_than_a_cell():
    assert squares(1, 1, 5) == [(0, 0, 1)]
    assert squares(1, 2, 3) == [(0, 0, 1), (0, 0, 1), (1, 0, 1)]  # three squares on two cells: one comes twice
    assert {side for _, _, side in squares(2, 2, 5)} == {2, 1}


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 5))
def test_regions_lie_inside_reach_both_ends_and_turn_with_the_map(height, width, levels):
    regions = rmac_regions(height, width, levels)
    for side in {r.width for r in regions}:
        level = [r for r in regions if r.width == r.height == side]
        assert {min(r.x for r in level), min(r.y for r in level)} == {0}
        assert max(r.x + side for r in level) <= width
        assert max(r.y + side for r in level) <= height
    turned = {Region(r.y, r.x, r.height, r.width) for r in rmac_regions(width, height, levels)}
    assert turned == set(regions)
    first = [r for r in regions if r.width == min(height, width)]
    assert max(r.x + r.width for r in first) == width
    assert max(r.y + r.height for r in first) == height


def in_floating_point(height, width, levels):
    """The published formula: steps and centres as fractions, rounded down at the end."""
    short, long = min(height, width), max(height, width)
    step = (long - short) / np.arange(1, 7)
    extra = 0 if height == width else int(np.abs((short**2 - short * step) / short**2 - 0.4).argmin()) + 1
    regions = []
    for level in range(1, levels + 1):
        side = math.floor(2 * short / (level + 1))
        if side == 0:
            continue
        half = math.floor(side / 2 - 1)
        starts = []
        for length in (width, height):
            count = level + (extra if length == long and height != width else 0)
            gap = (length - side) / (count - 1) if count > 1 else 0
            starts.append([math.floor(half + i * gap) - half for i in range(count)])
        regions += [(x, y, side) for y in starts[1] for x in starts[0]]
    return regions


def test_the_grid_is_the_published_one_up_to_its_rounding():
    numbers, shifted = [], []
    for height in range(1, 65):
        for width in range(1, 65):
            ours, theirs = squares(height, width), in_floating_point(height, width, 3)
            if len(ours) != len(theirs):
                numbers.append((height, width))
            elif ours != theirs:
                shifted.append((height, width))
                assert np.abs(np.array(ours) - np.array(theirs)).max() == 1
    assert len(shifted) <= 18
    assert (2, 62) in shifted
    # At an aspect of 1 + 6 t (t + 1) / (5 (2 t + 1)), t and t + 1 more squares are equally near; rounding decides.
    ties = {1 + Fraction(6 * t * (t + 1), 5 * (2 * t + 1)) for t in range(1, 6)}
    assert {Fraction(max(size), min(size)) for size in numbers} <= ties


def test_the_whole_map_is_added_only_where_asked():
    plain, more = rmac_regions(24, 32), rmac_regions(24, 32, include_global=True)
    assert more == (Region(0, 0, 32, 24), *plain)


def test_an_empty_map_is_refused():
    for wrong in ((0, 3, 3), (3, 0, 3), (3, 3, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            rmac_regions(*wrong)


def test_maxima_of_regions_are_those_of_a_loop():
    x = torch.randn(2, 5, 9, 13, generator=torch.Generator().manual_seed(0))
    regions = rmac_regions(9, 13, include_global=True)
    pooled = max_regions(x, regions)
    assert pooled.shape == (2, len(regions), 5)
    for r, region in enumerate(regions):
        for channel in range(5):
            cells = [
                float(x[1, channel, y, column])
                for y in range(region.y, region.y + region.height)
                for column in range(region.x, region.x + region.width)
            ]
            assert float(pooled[1, r, channel]) == max(cells)
    assert torch.equal(pooled[:, 0], x.amax((2, 3)))


def test_squares_of_a_picture_by_hand():
    regions = picture_regions((768, 1024), (24, 32), stride=32)
    assert len(regions) == 70
    assert regions[:2] == (Region(0, 0, 25, 24), Region(8, 0, 24, 24))  # columns 0 to 24, and 8 to 31
    # The second level has squares of 512 pixels: cells 0 to 16, where a grid on the map has 0 to 15.
    assert regions[2] == Region(0, 0, 17, 17)
    # Pixels 16 and 48 lie in the middle between cells: rounded upwards.
    assert picture_regions((33, 49), (2, 2), stride=32, levels=1) == (Region(0, 0, 2, 2), Region(1, 0, 1, 2))


@pytest.mark.parametrize("space", ["image", "map"])
def test_regions_of_any_map_are_pooled_as_by_a_loop(space):
    whole = torch.randn(1, 2, 33, 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = whole[0].numpy()
    for height in range(1, 34):
        for width in range(1, 34):
            # Pictures that do not fill the last cells.
            picture = (32 * height - height % 5, 32 * width - 3 * (width % 7))
            grid = rmac_regions(height, width, 5)
            regions = picture_regions(picture, (height, width), 32) if space == "image" else grid
            x = whole[..., :height, :width]
            parts = [numbers[:, r.y : r.y + r.height, r.x : r.x + r.width].reshape(2, -1) for r in regions]
            assert [part.shape[1] for part in parts] == [r.width * r.height for r in regions]  # all inside
            maxima, means = np.stack([x.max(1) for x in parts]), np.stack([x.mean(1) for x in parts])
            assert np.array_equal(max_regions(x, regions)[0].numpy(), maxima)
            assert np.abs(mean_regions(x, regions)[0].numpy() - means).max() < 1e-12


def test_means_of_regions_keep_the_digits_of_single_precision():
    x = 1000 + torch.rand(2, 5, 24, 32, generator=torch.Generator().manual_seed(0))
    regions = rmac_regions(24, 32, 5)
    found, exact = mean_regions(x, regions), mean_regions(x.double(), regions)
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 3e-4  # five units in the last place


def test_maxima_of_labels_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 40, 5, generator=generator)
    label = torch.randint(-1, 6, (3, 40), generator=generator)
    label[1, label[1] == 4] = 2  # nobody has label 4 there
    label[2] = -1
    found = max_labelled(x, label, 6)
    assert found.shape == (3, 6, 5)
    for i in range(3):
        for k in range(6):
            mine = [x[i, cell] for cell in range(40) if label[i, cell] == k]
            expected = torch.stack(mine).amax(0) if mine else torch.full((5,), -torch.inf)
            assert torch.equal(found[i, k], expected)
    assert not found[1, 4].isfinite().any()
    assert not found[2].isfinite().any()
