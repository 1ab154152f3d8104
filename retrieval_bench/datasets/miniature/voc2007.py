"""The miniature of PASCAL VOC 2007: 20 streets with one to three cars, near and far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import canvas as c
from retrieval_bench.datasets.miniature import scene
from retrieval_bench.datasets.miniature.cars import STRATA, Model, place_car
from retrieval_bench.datasets.miniature.files import save_jpeg, save_lines
from retrieval_bench.datasets.miniature.scene import Rng, between
from retrieval_bench.datasets.miniature.strata import spread

IMAGES = 20
_MODELS = 10
_DIFFICULT = 0.09  # of the shorter side: cars whose half length is less are marked as hard to tell

Box = tuple[int, int, int, int]


def write(folder: Path, seed: int) -> None:
    """Write ``VOCdevkit/VOC2007`` as the archive of trainval unpacks, without what is for segmentation.

    Args:
        folder: Where to.
        seed: Which cars and pictures.
    """
    top = folder / "VOCdevkit" / "VOC2007"
    models = [Model.from_strata(row) for row in spread(np.random.default_rng([seed, 2007]), _MODELS, STRATA)]
    stems = []
    for number in range(IMAGES):
        stem = f"{5 + 7 * number:06d}"
        picture, cars = _draw(models, np.random.default_rng([seed, 2007, number]), 1 + number % 3)
        save_jpeg(picture, top / "JPEGImages" / f"{stem}.jpg")
        save_lines(top / "Annotations" / f"{stem}.xml", _annotation(stem, picture, cars))
        stems.append(stem)
    for name, part in (("trainval", stems), ("train", stems[::2]), ("val", stems[1::2])):
        save_lines(top / "ImageSets" / "Main" / f"{name}.txt", part)


def _draw(models: list[Model], rng: Rng, count: int) -> tuple[Image.Image, list[tuple[Box, bool]]]:
    """A picture, and of each car the box and whether it is difficult; the cars stand side by side."""
    size = scene.picture_size(rng)
    image = scene.street(rng, size, between(rng, 0.4, 0.55))
    cars = []
    for place in rng.permutation(count):
        half = min(between(rng, 0.07, 0.3) * min(size), 0.45 * size[0] / count)
        where = c.Pose(
            centre=((place + 0.5) * size[0] / count, between(rng, 0.5, 0.75) * size[1]),
            scale=half,
            angle=between(rng, -0.1, 0.1),
            mirrored=bool(rng.integers(2)),
        )
        canvas = c.Canvas(image, where)
        place_car(canvas, models[int(rng.integers(len(models)))], rng)
        image = canvas.finish()
        cars.append((canvas.box(), half < _DIFFICULT * min(size)))
    return scene.photograph(image, rng, clutter=0.0), cars


def _annotation(stem: str, picture: Image.Image, cars: list[tuple[Box, bool]]) -> list[str]:
    lines = [
        *("<annotation>", "\t<folder>VOC2007</folder>", f"\t<filename>{stem}.jpg</filename>"),
        *("\t<source>", "\t\t<database>retrieval_bench miniature</database>", "\t</source>", "\t<size>"),
        *(f"\t\t<width>{picture.width}</width>", f"\t\t<height>{picture.height}</height>"),
        *("\t\t<depth>3</depth>", "\t</size>", "\t<segmented>0</segmented>"),
    ]
    for (left, top, right, bottom), difficult in cars:
        lines += [
            *("\t<object>", "\t\t<name>car</name>", "\t\t<pose>Unspecified</pose>", "\t\t<truncated>0</truncated>"),
            *(f"\t\t<difficult>{difficult:d}</difficult>", "\t\t<bndbox>"),
            # Pixels count from 1 there, and the last one belongs to the box.
            *(f"\t\t\t<xmin>{left + 1}</xmin>", f"\t\t\t<ymin>{top + 1}</ymin>"),
            *(f"\t\t\t<xmax>{right}</xmax>", f"\t\t\t<ymax>{bottom}</ymax>", "\t\t</bndbox>", "\t</object>"),
        ]
    return [*lines, "</annotation>"]
