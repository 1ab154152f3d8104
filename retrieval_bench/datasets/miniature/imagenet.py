"""The miniature of ILSVRC2012: 20 classes, of birds and of cars, ten pictures of each to train on and four others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval_bench.datasets.miniature import birds, cars
from retrieval_bench.datasets.miniature.files import save_jpeg
from retrieval_bench.datasets.miniature.scene import Rng
from retrieval_bench.datasets.miniature.strata import spread

CLASSES_OF_KIND = 10
IMAGES_PER_CLASS = 14
TRAINED_ON = 10

Drawing = Callable[[Rng], Image.Image]


def write(folder: Path, seed: int) -> None:
    """Write ``train/`` and ``val/`` as torchvision's ImageFolder reads them.

    Args:
        folder: Where to.
        seed: Which classes and pictures.
    """
    for place, draw in enumerate(_classes(seed)):
        synset = f"n{91_000_001 + place}"
        for number in range(IMAGES_PER_CLASS):
            picture = draw(np.random.default_rng([seed, 2012, place, number]))
            if number < TRAINED_ON:
                save_jpeg(picture, folder / "train" / synset / f"{synset}_{100 + 37 * number}.JPEG")
            else:
                count = 1 + 20 * (number - TRAINED_ON) + place  # in the original classes take turns
                save_jpeg(picture, folder / "val" / synset / f"ILSVRC2012_val_{count:08d}.JPEG")


def _classes(seed: int) -> list[Drawing]:
    rows = [
        spread(np.random.default_rng([seed, 2012, kind]), CLASSES_OF_KIND, strata)
        for kind, strata in enumerate((birds.STRATA, cars.STRATA))
    ]
    species = [birds.Species.from_strata(row) for row in rows[0]]
    models = [cars.Model.from_strata(row) for row in rows[1]]
    return [*(_drawing(birds.draw_bird, kind) for kind in species), *(_drawing(cars.draw_car, kind) for kind in models)]


def _drawing(draw: Callable[[Any, Rng], tuple[Image.Image, Any]], kind: Any) -> Drawing:
    return lambda rng: draw(kind, rng)[0]
