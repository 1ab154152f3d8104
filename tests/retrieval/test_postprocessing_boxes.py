"""The search for boxes: maxima against brute force, and what every box that is kept must be."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from retrieval_bench.retrieval.postprocessing.box_search import BoxSearch, box_maxima, box_power_means

SIZES = [(1, 1), (1, 7), (5, 3), (8, 8), (13, 16)]


def every_box(height, width):
    return torch.tensor(
        [
            [x1, y1, x2, y2]
            for y1 in range(height)
            for y2 in range(y1 + 1, height + 1)
            for x1 in range(width)
            for x2 in range(x1 + 1, width + 1)
        ]
    )


def brute_force(cells, boxes):
    return torch.stack([cells[:, y1:y2, x1:x2].amax((1, 2)) for x1, y1, x2, y2 in boxes.tolist()])


def sparse_map(channels, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, height, width, generator=generator).mul(2).sub(1).relu()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_maxima_of_all_boxes_are_exact(height, width):
    cells, boxes = sparse_map(4, height, width), every_box(height, width)
    assert torch.equal(box_maxima(cells)(boxes), brute_force(cells, boxes))
    signed = torch.randn(4, height, width, generator=torch.Generator().manual_seed(1))
    assert torch.equal(box_maxima(signed)(boxes), brute_force(signed, boxes))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_power_means_lie_between_the_maximum_and_the_tenth_root_of_the_size_times_it(height, width):
    cells = 100 * (0.2 + 0.8 * sparse_map(4, height, width))
    boxes = every_box(height, width)
    most, means = brute_force(cells, boxes), box_power_means(cells)(boxes)
    size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:, None]
    assert (means >= most * (1 - 1e-5)).all()
    assert (means <= most * size**0.1 * (1 + 1e-5)).all()


def test_power_means_by_hand():
    cells = torch.tensor([[[1.0, 2.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    boxes = torch.tensor([[0, 0, 1, 1], [1, 0, 2, 2], [0, 0, 2, 2]])
    means = box_power_means(cells)(boxes)
    assert means[:, 0].tolist() == pytest.approx([1, 2 * 2**0.1, (1 + 2**11) ** 0.1], rel=1e-6)
    assert means[:, 1].tolist() == [0, 0, 0]


@pytest.fixture(params=[box_maxima, box_power_means])
def searched(request):
    cells = sparse_map(16, 14, 19, seed=3)
    query = normalize(sparse_map(40, 4, 4, seed=4).amax((1, 2)).view(1, 40).repeat(6, 1)[:, :16], dim=1)
    query = normalize(query + 0.3 * sparse_map(16, 1, 6, seed=5)[:, 0].T, dim=1)
    aspect = torch.tensor([0.5, 0.75, 1.0, 1.0, 4 / 3, 2.0], dtype=torch.float64)
    return BoxSearch(request.param(cells), 14, 19), query, aspect


def test_every_kept_box_lies_inside_and_has_the_querys_aspect(searched):
    search, query, aspect = searched
    boxes, _ = search.best(query, aspect)
    for (x1, y1, x2, y2), a in zip(boxes.tolist(), aspect.tolist(), strict=True):
        assert 0 <= x1 < x2 <= 19
        assert 0 <= y1 < y2 <= 14
        assert abs(math.log(a / ((y2 - y1) / (x2 - x1)))) <= math.log(1.1) + 1e-9


def test_refinement_never_lowers_the_score_and_the_lattice_is_searched_in_full(searched):
    search, query, aspect = searched
    boxes, score = search.best(query, aspect)
    torch.testing.assert_close(search.score(query, boxes), score)
    lattice = every_box(14, 19)
    lattice = lattice[((lattice[:, :2] % 3 == 0) & ((lattice[:, 2:] - 1) % 3 == 0)).all(1)]
    gained = 0
    for i in range(len(query)):
        fitting = lattice[search.fits(lattice, aspect[i])]
        coarse = search.score(query[i].expand(len(fitting), -1), fitting).max()
        assert score[i] >= coarse - 1e-6
        gained += int(score[i] > coarse + 1e-4)
    assert gained


def test_queries_are_searched_alone_as_together(searched):
    search, query, aspect = searched
    together, _ = search.best(query, aspect)
    for i in range(len(query)):
        assert torch.equal(search.best(query[i : i + 1], aspect[i : i + 1])[0][0], together[i])


def test_an_object_that_was_planted_is_found_to_the_cell():
    # Four channels mark the object's corners; four more grow with the distance from it, one on each side.
    top, left, bottom, right = 5, 7, 23, 25
    y, x = torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij")
    cells = torch.zeros(8, 30, 30)
    cells[0, top, left] = cells[1, top, right - 1] = cells[2, bottom - 1, left] = cells[3, bottom - 1, right - 1] = 1
    cells[4:] = 0.1 * torch.stack([top - y, y - bottom + 1, left - x, x - right + 1]).clamp(min=0)
    query = normalize(torch.tensor([[1.0] * 4 + [0.0] * 4]), dim=1)
    boxes, score = BoxSearch(box_maxima(cells), 30, 30).best(query, torch.ones(1, dtype=torch.float64))
    assert boxes.tolist() == [[left, top, right, bottom]]
    assert score.tolist() == [1]


def test_a_map_without_a_box_of_the_aspect_is_taken_whole():
    cells = sparse_map(4, 2, 2)
    boxes, _ = BoxSearch(box_maxima(cells), 2, 2).best(torch.ones(1, 4) / 2, torch.tensor([5.0], dtype=torch.float64))
    assert boxes.tolist() == [[0, 0, 2, 2]]


def test_an_empty_map_scores_nothing():
    boxes, score = BoxSearch(box_maxima(torch.zeros(4, 6, 6)), 6, 6).best(
        torch.ones(2, 4) / 2, torch.ones(2, dtype=torch.float64)
    )
    assert score.tolist() == [0, 0]
    assert (boxes[:, 2:] > boxes[:, :2]).all()
