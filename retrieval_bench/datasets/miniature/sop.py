"""The miniature of Stanford Online Products: 48 items of 8 kinds, five pictures each, half of the items to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retrieval_bench.datasets.miniature.files import save_jpeg, save_lines
from retrieval_bench.datasets.miniature.products import STRATA, Item, draw_product
from retrieval_bench.datasets.miniature.strata import spread

KINDS = {"cabinet": 2, "chair": 3, "fan": 5, "kettle": 6, "lamp": 7, "mug": 8, "sofa": 9, "table": 11}
"""Those of the original's twelve kinds that are drawn, with the numbers they have there."""

ITEMS_PER_KIND = 3
IMAGES_PER_ITEM = 5
HEADER = "image_id class_id super_class_id path"
_FIRST_TEST_CLASS = 11319


def write(folder: Path, seed: int) -> None:
    """Write ``Stanford_Online_Products/`` as its archive unpacks.

    Args:
        folder: Where to.
        seed: Which items and pictures.
    """
    top = folder / "Stanford_Online_Products"
    count = len(KINDS) * ITEMS_PER_KIND
    everything, image_id = [HEADER], 0
    for half, first in (("train", 1), ("test", _FIRST_TEST_CLASS)):
        rows = spread(np.random.default_rng([seed, 12, first]), count, STRATA)
        lines = [HEADER]
        for place, row in enumerate(rows):
            class_id, kind = first + place, list(KINDS)[place // ITEMS_PER_KIND]
            item, sale = Item.from_strata(kind, row), 110_000_000_000 + 7_919 * (seed % 1_000) + class_id
            for number in range(IMAGES_PER_ITEM):
                path = f"{kind}_final/{sale}_{number}.JPG"
                picture = draw_product(item, np.random.default_rng([seed, 12, class_id, number]))
                save_jpeg(picture, top / path)
                image_id += 1
                lines.append(f"{image_id} {class_id} {KINDS[kind]} {path}")
        save_lines(top / f"Ebay_{half}.txt", lines)
        everything += lines[1:]
    save_lines(top / "Ebay_info.txt", everything)
