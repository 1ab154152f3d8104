import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as F

from retrieval_bench.datamodules.transforms import (
    Window,
    centre_window,
    check_recipe,
    crop_image,
    evaluation_picture,
    random_window,
    resize_image,
    resized_size,
    scale_box,
)
from retrieval_bench.nn.preprocessing import Preprocessing


def noise(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_resizing_is_that_of_pil_up_to_one_grey_level():
    image = noise(60, 90)
    ours = resize_image(image, (32, 32)).permute(1, 2, 0).numpy().astype(int)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(ours - np.asarray(pil).astype(int)).max() <= 1


def test_resizing_does_not_hang_on_the_order_of_pixels_in_memory():
    image = noise(60, 90)
    last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(resize_image(image, (32, 20)), resize_image(last, (32, 20)))
    assert resize_image(image, (32, 20)).permute(1, 2, 0).is_contiguous()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 40))
def test_an_int_is_the_shorter_side_as_in_torchvision(height, width, side):
    torchvision = F.resize(torch.zeros(3, height, width, dtype=torch.uint8), [side]).shape[1:]
    assert resized_size(height, width, side) == tuple(torchvision)


def test_sizes_by_hand():
    assert resized_size(375, 500, 256) == (256, 341)
    assert resized_size(500, 375, 256) == (341, 256)
    assert resized_size(375, 500, (256, 256)) == (256, 256)


@given(st.integers(5, 30), st.integers(5, 30))
def test_the_centre_crop_is_torchvision_s(height, width):
    image = noise(height, width)
    window = centre_window(height, width, Preprocessing(resize=height, crop=5))
    assert torch.equal(window.cut(image), F.center_crop(image, [5, 5]))


def test_boxes_follow_resize_crop_and_flip():
    # 500x375 to 256x256: x by 0.512, y by 256/375; then 16 off each side; then mirrored in 224.
    box = scale_box(np.array([100, 75, 300, 150], np.float32), (375, 500), (256, 256))
    assert box.tolist() == pytest.approx([51.2, 51.2, 153.6, 102.4])
    assert Window(16, 16, 224, 224).move(box).tolist() == pytest.approx([35.2, 35.2, 137.6, 86.4])
    assert Window(16, 16, 224, 224, flip=True).move(box).tolist() == pytest.approx([86.4, 35.2, 188.8, 86.4])
    assert Window(60, 100, 30, 30).move(box).tolist() == [0, 0, 30, 30]  # sticking out on all sides but the bottom


def test_a_mirrored_window_shows_the_same_pixels_under_its_box():
    image = torch.arange(8 * 8).view(1, 8, 8).expand(3, 8, 8).to(torch.uint8)
    box = np.array([2, 3, 5, 6], np.float32)
    for flip in (False, True):
        window = Window(1, 1, 6, 7, flip)
        x1, y1, x2, y2 = window.move(box).astype(int)
        seen = window.cut(image)[:, y1:y2, x1:x2]
        assert torch.equal(seen.flip(-1) if flip else seen, image[:, 3:6, 2:5])


def test_a_box_crop_takes_every_pixel_it_touches_and_stays_inside():
    image = torch.arange(6 * 8).view(1, 6, 8).expand(3, 6, 8)
    assert torch.equal(crop_image(image, np.array([1.5, 2, 4.2, 5])), image[:, 2:5, 1:5])
    assert torch.equal(crop_image(image, np.array([-3, -1, 99, 99])), image)
    assert torch.equal(crop_image(image, np.array([8, 6, 12, 9])), image[:, 5:, 7:])  # beside the picture
    assert torch.equal(crop_image(image, np.array([3, 2, 3, 2])), image[:, 2:3, 3:4])  # of no extent


def test_random_windows_are_uniform_and_made_by_the_seed_alone():
    recipe = Preprocessing(resize=(10, 11), crop=8, flip=0.25)
    windows = [random_window(10, 11, recipe, seed) for seed in range(4000)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert windows[:50] == [random_window(10, 11, recipe, seed) for seed in range(50)]
    assert torch.equal(torch.get_rng_state(), before)
    places = {(w.top, w.left) for w in windows}
    assert places == {(t, x) for t in range(3) for x in range(4)}
    for place in places:
        share = sum((w.top, w.left) == place for w in windows) / 4000
        assert abs(share - 1 / 12) < 4 * math.sqrt(1 / 12 * 11 / 12 / 4000)
    assert abs(sum(w.flip for w in windows) / 4000 - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4000)


def test_without_a_crop_only_the_flip_is_random():
    recipe = Preprocessing(resize=10, crop=None, flip=0.5)
    assert {random_window(10, 13, recipe, seed) for seed in range(30)} == {
        Window(0, 0, 10, 13, flip=True),
        Window(0, 0, 10, 13, flip=False),
    }


def test_recipes_that_no_picture_can_follow_are_refused():
    with pytest.raises(ValueError, match=r"crop of 224 pixels .* resized to \(256, 200\)"):
        check_recipe(Preprocessing(resize=(256, 200), crop=224))
    with pytest.raises(ValueError, match=r"resized to \(16, 1\): .* 2 pixels"):
        check_recipe(Preprocessing(resize=(16, 1)))
    with pytest.raises(ValueError, match=r"crop of 224 pixels .* resized to 200"):
        evaluation_picture(noise(300, 300), Preprocessing(resize=200, crop=224))


def test_an_evaluation_picture_is_resized_and_cut_in_the_middle():
    image = noise(40, 60)
    expected = F.center_crop(F.resize(image, [20, 20], antialias=True), [12, 12])
    assert torch.equal(evaluation_picture(image, Preprocessing(resize=(20, 20), crop=12)), expected)
