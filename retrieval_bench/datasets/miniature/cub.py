"""The miniature of CUB-200-2011: 20 species, half of them on each side of the class split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retrieval_bench.datasets.miniature.birds import STRATA, Species, draw_bird
from retrieval_bench.datasets.miniature.files import save_jpeg, save_lines
from retrieval_bench.datasets.miniature.strata import spread

CLASS_IDS = (*range(1, 11), *range(101, 111))
IMAGES_PER_CLASS = 12
_FIRST = ("Amber", "Barred", "Cliff", "Dusky", "Elder", "Frosted", "Gilded", "Harbour", "Inland", "Jade")
_LAST = ("Finch", "Warbler")


def write(folder: Path, seed: int) -> None:
    """Write ``CUB_200_2011/`` as its archive unpacks.

    Args:
        folder: Where to.
        seed: Which species and pictures.
    """
    top = folder / "CUB_200_2011"
    rows = spread(np.random.default_rng([seed, 200]), len(CLASS_IDS), STRATA)
    names = [f"{_FIRST[i % 10]}_{_LAST[i // 10]}" for i in range(len(CLASS_IDS))]
    images: list[str] = []
    labels: list[str] = []
    halves: list[str] = []
    boxes: list[str] = []
    for class_id, name, row in zip(CLASS_IDS, names, rows, strict=True):
        species = Species.from_strata(row)
        for number in range(IMAGES_PER_CLASS):
            picture, (left, upper, right, bottom) = draw_bird(
                species, np.random.default_rng([seed, 200, class_id, number])
            )
            image_id = len(images) + 1
            path = f"{class_id:03d}.{name}/{name}_{number + 1:04d}_{1000 * class_id + number}.jpg"
            save_jpeg(picture, top / "images" / path)
            images.append(f"{image_id} {path}")
            labels.append(f"{image_id} {class_id}")
            # The official split puts about half of every class on each side.
            halves.append(f"{image_id} {(number + 1) % 2}")
            boxes.append(f"{image_id} {left:.1f} {upper:.1f} {right - left:.1f} {bottom - upper:.1f}")
    save_lines(top / "images.txt", images)
    save_lines(top / "image_class_labels.txt", labels)
    save_lines(top / "train_test_split.txt", halves)
    save_lines(top / "bounding_boxes.txt", boxes)
    save_lines(top / "classes.txt", [f"{i} {i:03d}.{name}" for i, name in zip(CLASS_IDS, names, strict=True)])
