"""Pixel values of both families of weights, by hand."""

import pytest
import torch

from retrieval_bench.nn.preprocessing import denormalize, normalize


def pixel(red: int, green: int, blue: int) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8).view(1, 3, 1, 1)


def test_torchvision_family_by_hand():
    value = normalize(pixel(255, 0, 128), "torchvision").flatten().tolist()
    assert value == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225])


def test_caffe_family_is_blue_green_red_with_the_mean_taken_off():
    value = normalize(pixel(255, 10, 128), "caffe").flatten().tolist()
    assert value == pytest.approx([128 - 103.939, 10 - 116.779, 255 - 123.68], abs=1e-4)


@pytest.mark.parametrize("family", ["torchvision", "caffe"])
def test_a_batch_equals_its_pictures(family):
    image = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(normalize(image, family), torch.stack([normalize(x, family) for x in image]))


@pytest.mark.parametrize("family", ["torchvision", "caffe"])
def test_colours_come_back(family):
    picture = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(denormalize(normalize(picture, family), family), picture.float(), atol=1e-3)
    assert torch.allclose(denormalize(normalize(picture[0], family), family), picture[0].float(), atol=1e-3)
