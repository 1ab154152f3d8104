"""Batches of VOC 2007: the boxes of objects go where the pixels go."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.datamodules import Voc2007DataModule
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three black pictures of different sizes with two white rectangles each, and a fourth without any."""
    top = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (top / folder).mkdir(parents=True)
    names = []
    for i in range(4):
        pixels = np.zeros((60 + 10 * i, 90, 3), np.uint8)
        things = ""
        for x1, y1, x2, y2 in ((4, 8, 30, 24), (50, 30, 80, 50))[: 2 if i < 3 else 0]:
            pixels[y1:y2, x1:x2] = 255
            corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
            box = "".join(f"<{k}>{v}</{k}>" for k, v in corners.items())
            things += f"<object><difficult>0</difficult><bndbox>{box}</bndbox></object>"
        Image.fromarray(pixels).save(top / "JPEGImages" / f"{i:06d}.jpg", quality=100, subsampling=0)
        (top / "Annotations" / f"{i:06d}.xml").write_text(f"<annotation>{things}</annotation>")
        names.append(f"{i:06d}")
    (top / "ImageSets/Main/trainval.txt").write_text("\n".join(names))
    return tmp_path


def batches(root: Path, flip: float) -> dict[int, dict[str, torch.Tensor]]:
    data = Voc2007DataModule(root=root, num_workers=0)
    data.preprocessing = Preprocessing(resize=MinSide(120, 1000), flip=flip)
    return {int(batch["index"]): batch for batch in data.train_dataloader()}


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_objects_are_where_the_pixels_say(root, flip):
    found = batches(root, flip)
    assert sorted(found) == [0, 1, 2, 3]
    for index in range(3):
        image, objects = found[index]["image"], found[index]["objects"]
        assert objects.shape == (1, 2, 4)
        assert objects.dtype == torch.float32
        white = image[0].float().mean(0) > 127
        drawn = torch.zeros_like(white)
        for x1, y1, x2, y2 in objects[0].round().int().tolist():
            drawn[y1:y2, x1:x2] = True
        both, either = (white & drawn).sum(), (white | drawn).sum()
        assert both / either > 0.93
    assert found[3]["objects"].shape == (1, 0, 4)
    # 60 x 90 pixels become 120 x 180.
    left = 180 - 60 if flip else 8
    assert found[0]["objects"][0, 0].tolist() == [left, 16, left + 52, 48]


def test_each_picture_is_seen_once_an_epoch_in_an_order_of_its_own(root):
    data = Voc2007DataModule(root=root, num_workers=0)
    data.preprocessing = Preprocessing(resize=MinSide(64, 1000))
    loader = data.train_dataloader()
    orders = []
    for epoch in range(6):
        loader.batch_sampler.set_epoch(epoch)
        orders.append(tuple(int(batch["index"]) for batch in loader))
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 1


def test_there_is_nothing_to_ask_or_to_search(root):
    with pytest.raises(OptionError, match="train RPN on it"):
        Voc2007DataModule(root=root).val_dataloader()
