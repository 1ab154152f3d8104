import numpy as np
import pytest
import torch

from retrieval_bench.retrieval import localisation
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.localisation import best_boxes, overlap


def test_overlap_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1], [1, 1, 1, 1]])
    b = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [1, 1, 2, 2], [1, 1, 1, 1]])
    torch.testing.assert_close(overlap(a, b), torch.tensor([1, 1 / 3, 0, 0]))


def sides() -> tuple[Descriptors, Descriptors]:
    generator = torch.Generator().manual_seed(0)
    query = Descriptors(torch.randn(3, 4, generator=generator), torch.tensor([7, 8, 9]), "euclidean")
    image = torch.tensor([5, 5, 5, 2, 2, 6])
    boxes = torch.arange(24.0).view(6, 4)
    return query, Descriptors(torch.randn(6, 4, generator=generator), image, "euclidean", boxes)


@pytest.mark.parametrize("at_once", [1, 2**20])
def test_the_box_is_that_of_the_nearest_row_of_the_image(at_once, monkeypatch):
    monkeypatch.setattr(localisation, "_MOST_ROW_PAIRS", at_once)
    query, gallery = sides()
    asking, searched = np.array([9, 7, 9, 8]), np.array([5, 5, 2, 6])
    found = best_boxes(query, gallery, asking, searched)
    for q, g, box in zip(asking, searched, found, strict=True):
        rows = (gallery.image == g).nonzero().squeeze(1)
        distance = (gallery.data[rows] - query.data[query.image == q]).square().sum(1)
        assert torch.equal(box, gallery.boxes[rows[distance.argmin()]])


def test_of_equally_near_rows_the_first_counts():
    query = Descriptors(torch.ones(1, 2), torch.tensor([0]), "euclidean")
    boxes = torch.arange(12.0).view(3, 4)
    gallery = Descriptors(torch.tensor([[9.0, 9], [1, 1], [1, 1]]), torch.tensor([4, 4, 4]), "euclidean", boxes)
    assert best_boxes(query, gallery, np.array([0]), np.array([4])).tolist() == [[4, 5, 6, 7]]


def test_without_boxes_nothing_is_found():
    query, _ = sides()
    with pytest.raises(ValueError, match="without boxes"):
        best_boxes(query, query, np.array([7]), np.array([8]))
