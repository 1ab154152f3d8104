"""Pictures that keep their aspect: how large they become, how queries are cut from them, and what shares a batch."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retrieval_bench.datamodules.images import DecodedPictures, picture_shapes
from retrieval_bench.datamodules.samplers import ShapeBatchSampler
from retrieval_bench.datamodules.transforms import check_recipe, crop_image, resize_image, resized_size
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import image_size, load_image
from retrieval_bench.nn.preprocessing import MaxSide, MinSide, Preprocessing


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (MaxSide(1024), (768, 1024), (768, 1024)),
        (MaxSide(1024), (600, 800), (600, 800)),  # never enlarged
        (MaxSide(1024), (2048, 1000), (1024, 500)),
        (MaxSide(1024), (333, 1025), (333, 1024)),  # 332.675
        (MaxSide(800, upscale=True), (300, 400), (600, 800)),
        (MaxSide(800, upscale=True), (768, 1024), (600, 800)),
        (MaxSide(100), (1, 1000), (2, 100)),
        (MinSide(600, 1000), (480, 640), (600, 800)),
        (MinSide(600, 1000), (300, 600), (500, 1000)),  # the longer side would be 1200
        (MinSide(600, 1000), (1000, 600), (1000, 600)),
        (MinSide(600, 1000), (1200, 1200), (600, 600)),
    ],
)
def test_sizes_after_resizing_by_hand(rule, before, after):
    assert resized_size(*before, rule) == after
    assert resized_size(*before[::-1], rule) == after[::-1]


@given(st.integers(2, 3000), st.integers(2, 3000), st.integers(2, 1200), st.booleans())
def test_the_aspect_is_kept_to_half_a_pixel_and_the_longer_side_is_exact(height, width, side, upscale):
    high, wide = MaxSide(side, upscale).size(height, width)
    scale = side / max(height, width)
    if scale > 1 and not upscale:
        assert (high, wide) == (height, width)
    else:
        assert max(high, wide) == side
        assert max(2.0, height * scale) == pytest.approx(high, abs=0.5001)
        assert max(2.0, width * scale) == pytest.approx(wide, abs=0.5001)


def test_a_picture_of_the_right_size_keeps_its_pixels():
    image = torch.randint(256, (3, 30, 40), dtype=torch.uint8)
    assert torch.equal(resize_image(image, MaxSide(40)), image)


def test_a_square_is_not_cut_from_pictures_of_any_aspect():
    with pytest.raises(ValueError, match="square of 12 pixels"):
        check_recipe(Preprocessing(MaxSide(64), crop=12))
    with pytest.raises(ValueError, match="at least 2 pixels"):
        check_recipe(Preprocessing(MaxSide(1)))


def test_a_query_is_cut_from_the_resized_picture_and_not_resized_again(painter):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    painter.add(pixels, 0, "q", (10, 5, 31, 40.5))
    painter.add(pixels, 0, "g", (0, 0, np.inf, np.inf))
    data = painter.data(protocol="query-boxes", eval_batch_size=8)
    data.preprocessing = Preprocessing(MaxSide(30))
    query, gallery = sorted(data.val_dataloader(), key=lambda batch: batch["index"].item())
    whole = resize_image(load_image(data.dataset.image_path(1)), (20, 30))
    assert torch.equal(gallery["image"][0], whole)
    # Half the size: the box is 5, 2.5, 15.5, 20.25 there, of which the picture has rows 2-19 and columns 5-15.
    assert torch.equal(query["image"][0], whole[:, 2:20, 5:16])
    assert query["box"].tolist() == [[0, 0, 11, 18]]
    assert gallery["box"].tolist() == [[0, 0, 30, 20]]  # a box without end is the whole picture


def test_a_method_of_one_size_gets_the_box_stretched_to_it(painter):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    painter.add(pixels, 0, "q", (10, 5, 30, 40))
    painter.add(pixels, 0, "g", (0, 0, np.inf, np.inf))
    data = painter.data(protocol="query-boxes", eval_batch_size=1)
    data.preprocessing = Preprocessing((16, 16))
    query = next(iter(data.val_dataloader()))["image"][0]
    box = np.array([10, 5, 30, 40], np.float32)
    assert torch.equal(query, resize_image(crop_image(load_image(data.dataset.image_path(0)), box), (16, 16)))


def test_a_box_and_a_square_are_not_both_cut(painter):
    painter.add_noise(0, "g", 1)
    data = painter.data(protocol="query-boxes")
    data.preprocessing = Preprocessing(20, crop=20)
    with pytest.raises(ValueError, match="square of 20 pixels"):
        data.setup()


@pytest.mark.parametrize("protocol", ["whole", "boxes", "query-boxes"])
def test_the_header_tells_the_size_of_the_picture_to_come(painter, protocol):
    rng = np.random.default_rng(2)
    for i, (height, width) in enumerate([(40, 61), (61, 40), (33, 33), (7, 90)]):
        box = sorted(rng.uniform(0, width, 2)), sorted(rng.uniform(0, height, 2))
        corners = (box[0][0], box[1][0], box[0][1] + 5, box[1][1] + 5)
        painter.add(rng.integers(0, 256, (height, width, 3), np.uint8), 0, "qg"[i % 2], corners)
    dataset = painter.data(protocol=protocol).dataset
    for resize in (MaxSide(37), MaxSide(90, upscale=True), MinSide(20, 50), 19):
        pictures = DecodedPictures(dataset, Preprocessing(resize))
        actual = [tuple(pictures[row].pixels.shape[:2]) for row in range(4)]
        assert [tuple(x) for x in picture_shapes(pictures, np.arange(4)).tolist()] == actual


def test_a_turned_photo_has_the_size_it_is_shown_in(tmp_path):
    exif = Image.Exif()
    for orientation, size in ((1, (20, 30)), (3, (20, 30)), (6, (30, 20)), (8, (30, 20))):
        exif[0x0112] = orientation
        Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
        assert image_size(tmp_path / "turned.jpg") == size == tuple(load_image(tmp_path / "turned.jpg").shape[1:])


def test_a_broken_header_names_the_file(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    for name in ("cut.jpg", "absent.jpg"):
        with pytest.raises(UnreadableImageError, match=name):
            image_size(tmp_path / name)


@given(
    st.lists(st.sampled_from([(20, 30), (30, 20), (24, 24), (20, 31)]), max_size=60),
    st.integers(1, 7),
    st.integers(1, 4),
)
def test_every_picture_comes_once_in_batches_of_one_shape(shapes, batch_size, world):
    array = np.array(shapes, np.int64).reshape(-1, 2)
    samplers = [ShapeBatchSampler(array, batch_size, rank=r, world_size=world) for r in range(world)]
    batches = [batch for sampler in samplers for batch in sampler]
    assert sorted(row for batch in batches for row in batch) == list(range(len(shapes)))
    assert all(len({shapes[row] for row in batch}) == 1 and 1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == sum(-(-n // batch_size) for n in Counter(shapes).values())  # no more than there must be
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]
    assert max(map(len, samplers)) - min(map(len, samplers)) <= 1


def test_shape_batches_by_hand():
    shapes = np.array([(2, 2), (4, 4), (2, 2), (4, 4), (2, 2)])
    assert list(ShapeBatchSampler(shapes, 2)) == [[1, 3], [0, 2], [4]]
    assert list(ShapeBatchSampler(shapes, 2, rank=1, world_size=2)) == [[0, 2]]
    with pytest.raises(ValueError, match=r"at least 1 image.*eval_batch_size"):
        ShapeBatchSampler(shapes, 0)


def test_evaluation_groups_pictures_by_shape(painter):
    for size in ((20, 30), (30, 20), (40, 60), (30, 20)):
        painter.add_noise(0, "qg", 1, size=size)
    data = painter.data(eval_batch_size=3, num_workers=2)
    data.preprocessing = Preprocessing(MaxSide(30))
    batches = {tuple(batch["image"].shape): batch["index"].tolist() for batch in data.val_dataloader()}
    assert batches == {(2, 3, 20, 30): [0, 2], (2, 3, 30, 20): [1, 3]}
