import torch
from torch.nn.functional import normalize

from retrieval_bench.nn.roi import roi_vectors


def test_a_box_is_the_maximum_of_the_cells_between_its_rounded_corners():
    maps = torch.rand(2, 5, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[0, 0, 192, 144], [20, 36, 75, 100]], [[100, 10, 150, 60], [41, 41, 42, 42]]]).float()
    corners = (boxes / 16).round().long()
    for b in range(2):
        for r in range(2):
            x1, y1, x2, y2 = corners[b, r].tolist()
            expected = normalize(maps[b, :, y1 : y2 + 1, x1 : x2 + 1].amax((1, 2)), dim=0)
            torch.testing.assert_close(roi_vectors(maps, boxes, 16)[b, r], expected)


def test_one_bin_has_the_maximum_of_seven_by_seven():
    from torchvision.ops import roi_pool

    maps = torch.rand(1, 4, 20, 30, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[[13.0, 40, 333, 260], [100, 100, 170, 130]]])
    bins = roi_pool(maps, list(boxes), output_size=7, spatial_scale=1 / 16)
    torch.testing.assert_close(roi_vectors(maps, boxes, 16)[0], normalize(bins.amax((2, 3)), dim=1))


def test_what_is_outside_of_the_picture_changes_nothing():
    maps = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    whole = roi_vectors(maps, torch.tensor([[[0.0, 0, 128, 96]]]), 16)
    assert torch.equal(roi_vectors(maps, torch.tensor([[[-40.0, -1, torch.inf, torch.inf]]]), 16), whole)


def test_a_map_without_activation_gives_zeros():
    assert not roi_vectors(torch.zeros(1, 3, 4, 4), torch.tensor([[[0.0, 0, 64, 64]]]), 16).any()
