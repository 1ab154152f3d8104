"""Batches of pictures that are first cropped to their saliency boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retrieval_bench.datamodules.images import DecodedPictures, picture_shapes
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.saliency_boxes import BoxWriter, PictureBox
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import MaxSide, Preprocessing


def two_colours(left, right, *, height=20, width=40):
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = left, right
    return pixels


@pytest.fixture
def boxed(painter, tmp_path):
    """Data whose pictures of 40x20 are cropped to the boxes given, one a picture."""

    def make(boxes, *, resize=(16, 16), crop=None, file="boxes.jsonl", size=(40, 20), **options):
        found = [PictureBox(f"{i}.png", box, size) for i, box in enumerate(boxes)]
        path = tmp_path / file
        path.unlink(missing_ok=True)
        with BoxWriter(path, {"dataset": "colours"}, len(found)) as writer:
            writer.append(found)
        data = painter.data(**options)
        data.preprocessing = Preprocessing(resize=resize, crop=crop, flip=0.0, boxes=path)
        return data

    return make


def test_evaluation_sees_the_box_alone(painter, boxed):
    painter.add(two_colours((10, 20, 30), (200, 210, 220)), 0, "qg")
    painter.add(two_colours((10, 20, 30), (200, 210, 220)), 0, "qg")
    (batch,) = boxed([(20, 5, 40, 15), (0, 0, 40, 20)]).val_dataloader()
    right = torch.tensor([200, 210, 220], dtype=torch.uint8)[:, None, None].expand(3, 16, 16)
    assert torch.equal(batch["image"][0], right)
    assert batch["image"][1, 0, 0, [0, -1]].tolist() == [10, 200]


def test_training_sees_the_box_alone(painter, boxed):
    for label in (0, 1):
        painter.add(two_colours((10, 20, 30), (200, 210, 220)), label, "t")
    data = boxed([(0, 0, 20, 20), (20, 0, 40, 20)], classes_per_batch=2, images_per_class=1)
    (batch,) = data.train_dataloader()
    shades = {int(i): image[0].unique().tolist() for i, image in zip(batch["index"], batch["image"], strict=True)}
    assert shades == {0: [10], 1: [200]}


def test_a_whole_picture_for_a_box_changes_nothing(painter, boxed):
    painter.add_noise(0, "qg", 3, size=(20, 40))
    data = boxed([(0, 0, 40, 20)] * 3, crop=12)
    cropped = list(data.val_dataloader())
    whole = painter.data()
    whole.preprocessing = replace(data.preprocessing, boxes=None)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(cropped, whole.val_dataloader(), strict=True))


def test_the_table_s_boxes_move_with_the_crop(painter, boxed):
    # 10 to 30 across and 5 to 15 down, cut to the 20x10 pixels from (15, 0): 0 to 15 and 5 to 10, then times 0.8, 1.6.
    painter.add(two_colours((0, 0, 0), (9, 9, 9)), 0, "qg", (10, 5, 30, 15))
    (batch,) = boxed([(15, 0, 35, 10)]).val_dataloader()
    assert batch["box"].tolist() == [pytest.approx([0, 8, 12, 16])]


def test_pictures_that_keep_their_aspect_keep_that_of_the_box(painter, boxed):
    painter.add_noise(0, "qg", 2, size=(20, 40))
    data = boxed([(0, 0, 10, 20), (5, 5, 25, 15)], resize=MaxSide(10))
    decoded = DecodedPictures(data.dataset, data.preprocessing)
    assert picture_shapes(decoded, np.arange(2)).tolist() == [[10, 5], [5, 10]]
    assert [decoded[row].pixels.shape[:2] for row in range(2)] == [(10, 5), (5, 10)]
    assert {tuple(batch["image"].shape[2:]) for batch in data.val_dataloader()} == {(10, 5), (5, 10)}


def test_the_cache_never_mixes_boxes(painter, boxed, tmp_path):
    painter.add(two_colours((10, 20, 30), (200, 210, 220)), 0, "qg")

    def shades(data):
        (batch,) = data.val_dataloader()
        return batch["image"][0, 0].unique().tolist()

    cache = tmp_path / "cache"
    whole = painter.data(cache=cache)
    whole.preprocessing = Preprocessing(resize=(16, 16))
    assert len(shades(whole)) > 1
    assert shades(boxed([(0, 0, 20, 20)], cache=cache)) == [10]
    assert shades(boxed([(20, 0, 40, 20)], cache=cache)) == [200]  # another content under the same name
    assert len(list(cache.glob("*.rgb"))) == 3
    assert shades(boxed([(20, 0, 40, 20)], cache=cache, file="copy.jsonl")) == [200]
    assert len(list(cache.glob("*.rgb"))) == 3


def test_a_picture_without_a_box_is_one_error(painter, boxed):
    painter.add_noise(0, "qg", 2, size=(20, 40))
    with pytest.raises(DataError, match=r"boxes\.jsonl has no box of 1\.png: .*retrieval-bench saliency colours"):
        boxed([(0, 0, 9, 9)]).setup()


def test_boxes_of_another_edition_of_the_pictures_are_refused(painter, boxed):
    painter.add_noise(0, "qg", 1, size=(20, 40))
    data = boxed([(0, 0, 9, 9)], size=(80, 40))
    with pytest.raises(DataError, match=r"0\.png is 40x20 pixels, its saliency box was found on 80x40"):
        list(data.val_dataloader())


@pytest.mark.parametrize("protocol", ["boxes", "query-boxes"])
def test_a_protocol_that_crops_is_not_cropped_again(painter, boxed, protocol):
    painter.add(two_colours((0, 0, 0), (9, 9, 9)), 0, "q", (10, 5, 30, 15))
    with pytest.raises(OptionError, match=f"protocol '{protocol}' of colours crops pictures itself"):
        boxed([(0, 0, 40, 20)], protocol=protocol).setup()
