"""Saliency boxes: places and levels by hand, and what must hold for every map."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.nn.saliency import SaliencyNetwork, enlarge, grey_map, picture_box, salient_box
from retrieval_bench.nn.weights import WeightsError

ALPHAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9)


def grey_picture(cells: torch.Tensor, side: int = 299) -> torch.Tensor:
    """The grey picture of ``(h, w)`` values of one channel."""
    return enlarge(grey_map(cells[None, None].float())[0], side)


def random_cells(seed: int) -> torch.Tensor:
    return torch.rand(8, 8, generator=torch.Generator().manual_seed(seed))


def noise(side: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def test_a_grey_map_is_the_channels_stretched_over_0_to_255():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]], [[1.0, 4.0], [3.0, 1.0]]]])
    # The means are 1, 3, 3, 3; the maxima 1, 4, 3, 5.
    assert grey_map(maps)[0].tolist() == [[0, 255], [255, 255]]
    assert grey_map(maps, "max")[0].tolist() == [[0, 191.25], [127.5, 255]]


def test_each_picture_is_stretched_over_its_own_range():
    maps = torch.stack([random_cells(0)[None], 7 + 100 * random_cells(1)[None]])
    both = grey_map(maps)
    assert both.amin((1, 2)).tolist() == [0, 0]
    assert both.amax((1, 2)).tolist() == [255, 255]
    assert torch.equal(both[1], grey_map(maps[1:])[0])


def test_a_sum_over_channels_gives_the_mean_s_boxes():
    maps = torch.rand(5, 20, 8, 8, generator=torch.Generator().manual_seed(2))
    for mean, total in zip(grey_map(maps), grey_map(maps, "sum"), strict=True):
        assert salient_box(enlarge(mean, 299), 0.4) == salient_box(enlarge(total, 299), 0.4)


@pytest.mark.parametrize(("row", "column"), [(3, 5), (1, 1), (6, 2)])
@pytest.mark.parametrize("component", ["all", "largest"])
def test_a_single_hot_cell_has_its_box_around_its_place(row, column, component):
    cells = torch.zeros(8, 8)
    cells[row, column] = 3.0
    x1, y1, x2, y2 = salient_box(grey_picture(cells), 0.4, component)
    assert (x1 + x2) / 2 == pytest.approx((column + 0.5) * 299 / 8, abs=0.51)
    assert (y1 + y2) / 2 == pytest.approx((row + 0.5) * 299 / 8, abs=0.51)
    # Brightness falls from 255 to 0 over one cell: over 102 within 0.6 cells to each side.
    assert x2 - x1 == pytest.approx(2 * 0.6 * 299 / 8, abs=1.5)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_nested_as_alpha_grows(seed):
    grey = grey_picture(random_cells(seed) ** 3)
    boxes = [salient_box(grey, alpha) for alpha in ALPHAS]
    for outer, inner in itertools.pairwise(boxes):
        assert outer[0] <= inner[0] < inner[2] <= outer[2]
        assert outer[1] <= inner[1] < inner[3] <= outer[3]


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_component_lies_within_the_box_of_all(seed):
    grey = grey_picture(random_cells(seed) ** 3)
    for alpha in ALPHAS:
        whole, part = salient_box(grey, alpha), salient_box(grey, alpha, "largest")
        assert whole[0] <= part[0]
        assert whole[1] <= part[1]
        assert part[2] <= whole[2]
        assert part[3] <= whole[3]


@pytest.mark.parametrize("seed", range(5))
def test_alpha_0_keeps_almost_the_whole_picture(seed):
    x1, y1, x2, y2 = salient_box(grey_picture(random_cells(seed)), 0.0)
    assert (x2 - x1) * (y2 - y1) > 0.98 * 299 * 299


def test_a_constant_map_keeps_the_whole_picture():
    box = salient_box(grey_picture(torch.full((8, 8), 0.7)), 0.0)
    assert box is None
    assert picture_box(box, 299, 500, 333) == (0, 0, 500, 333)


def test_a_map_that_is_no_number_keeps_the_whole_picture():
    assert salient_box(grey_picture(torch.full((8, 8), float("nan"))), 0.0) is None


def test_what_is_kept_is_brighter_than_the_threshold():
    grey = torch.zeros(10, 10, dtype=torch.uint8)
    grey[2, 3], grey[7, 8] = 102, 103  # 0.4 of white is 102
    assert salient_box(grey, 0.4) == (8, 7, 9, 8)
    assert salient_box(grey, 0.39) == (3, 2, 9, 8)


def test_components_are_joined_by_edges_and_not_by_corners():
    grey = torch.zeros(10, 10, dtype=torch.uint8)
    grey[1:3, 1:3] = 255  # four pixels
    grey[3:5, 3:6] = 255  # six, touching the four at a corner
    grey[9, 0:5] = 255  # five
    assert salient_box(grey, 0.4) == (0, 1, 6, 10)
    assert salient_box(grey, 0.4, "largest") == (3, 3, 6, 5)


def test_a_box_is_carried_back_to_all_pixels_it_touches():
    # Ten pixels stand for 25 across and for 15 down: 1 to 5 are 2.5 to 12.5, and 2 to 9 are 3 to 13.5.
    assert picture_box((1, 2, 5, 9), 10, 25, 15) == (2, 3, 13, 14)
    assert picture_box((0, 0, 10, 10), 10, 25, 15) == (0, 0, 25, 15)


def test_a_box_of_less_than_a_tenth_of_the_picture_is_the_whole_picture():
    assert picture_box((0, 0, 3, 3), 10, 25, 15) == (0, 0, 25, 15)
    assert picture_box((0, 0, 2, 5), 10, 100, 100) == (0, 0, 20, 50)


def test_inception_v3_gives_the_map_of_torchvision_s_own_network():
    network = SaliencyNetwork("inception_v3", "none")
    # torchvision's own recipe: ImageNet's normalisation, undone inside the network.
    reference = models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    missing, unexpected = reference.load_state_dict(network.trunk.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith(("AuxLogits.", "fc.")) for key in missing)
    maps = []
    reference.Mixed_7c.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    pictures = noise(299)
    with torch.inference_mode():
        reference(normalize(pictures, "torchvision"))
        ours = network(pictures)
    assert ours.shape == (2, 2048, 8, 8)
    assert (ours - maps[0]).abs().max() < 1e-4 * maps[0].max()


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (2, 512, 10, 10)), ("mobilenet_v2", (2, 1280, 10, 10))])
def test_a_trunk_takes_the_place_of_inception(name, shape):
    assert SaliencyNetwork(name, "none")(noise(299)).shape == shape


def test_random_weights_are_always_the_same_and_leave_chance_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (SaliencyNetwork("squeezenet1_0", "none")(noise(96)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_network_is_frozen():
    network = SaliencyNetwork("resnet18", "none")
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_inception_resnet_v2_is_read_from_timm(monkeypatch):
    class Scaled(nn.Module):
        """Shows what it was given as its last map."""

        def __init__(self):
            super().__init__()
            self.conv2d_7b = nn.Identity()
            self.classif = nn.Linear(3, 2)

        def forward(self, x):
            return self.classif(self.conv2d_7b(x * 1).mean((2, 3)))

    calls = []

    def create_model(name, *, pretrained):
        calls.append((name, pretrained))
        return Scaled()

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    pictures = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    maps = SaliencyNetwork("inception_resnet_v2", "imagenet")(pictures)
    assert calls == [("inception_resnet_v2", True)]
    assert maps[0, :, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(OptionError, match=r"pip install timm.*or choose inception_v3"):
        SaliencyNetwork("inception_resnet_v2", "none")


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match="unknown network 'vgg7'; known are inception_v3"):
        SaliencyNetwork("vgg7")


@pytest.mark.parametrize("name", ["inception_v3", "mobilenet_v2"])
def test_weights_that_are_not_there_are_named(name, tmp_path):
    with pytest.raises(WeightsError, match=r"no weights at .*lost\.pth"):
        SaliencyNetwork(name, str(tmp_path / "lost.pth"))


@pytest.mark.data
def test_the_bird_is_in_the_box(shared):
    """Bird and box overlap by half on average, which whole pictures (0.36) and chance do not."""
    from retrieval_bench.datasets.cub import Cub200
    from retrieval_bench.datasets.images import load_image

    birds = Cub200(shared / "sets" / "cub_originals")
    network = SaliencyNetwork("mobilenet_v2", str(shared / "weights" / "mobilenet_v2-imagenet.pth"))
    overlaps = []
    for row in range(0, len(birds.table), 20):
        image = load_image(birds.image_path(row))
        height, width = image.shape[1:]
        small = nn.functional.interpolate(image[None].float(), (299, 299), mode="bilinear", antialias=True)
        grey = enlarge(grey_map(network(small.round().to(torch.uint8)))[0], 299)
        ours = np.array(picture_box(salient_box(grey, 0.4), 299, width, height), np.float64)
        true = birds.table.box[row].astype(np.float64)
        sides = np.clip(np.minimum(ours[2:], true[2:]) - np.maximum(ours[:2], true[:2]), 0, None)
        areas = [np.prod(box[2:] - box[:2]) for box in (ours, true)]
        overlaps.append(np.prod(sides) / (sum(areas) - np.prod(sides)))
    assert np.mean(overlaps) > 0.45
