"""The miniature of In-shop Clothes Retrieval: 18 garments to train on, 18 others asked for and searched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from retrieval_bench.datasets.miniature.files import save_jpeg, save_lines
from retrieval_bench.datasets.miniature.garments import KINDS, STRATA, VIEWS, Garment, draw_garment
from retrieval_bench.datasets.miniature.strata import spread

ITEMS_PER_KIND = 3
IMAGES_PER_ITEM = 7
PARTITION_HEADER = "image_name item_id evaluation_status"
BOX_HEADER = "image_name clothes_type pose_type x_1 y_1 x_2 y_2"
_NAME_COLUMNS = 75  # the published lists pad the picture's name to this width
_CLOTHES_TYPE = {"top": 1, "coat": 1, "skirt": 2, "trousers": 2, "dress": 3}
_POSE_TYPE = {"front": 1, "side": 2, "back": 3, "full": 1, "additional": 4}


def write(folder: Path, seed: int) -> None:
    """Write ``img/``, ``Eval/`` and ``Anno/`` side by side, as the archives unpack.

    Args:
        folder: Where to.
        seed: Which garments and pictures.
    """
    partition, boxes, item_number = [], [], 0
    for half in ("train", "test"):
        rows = spread(np.random.default_rng([seed, 23, half == "test"]), len(KINDS) * ITEMS_PER_KIND, STRATA)
        for place, row in enumerate(rows):
            place_of_kind = list(KINDS)[place // ITEMS_PER_KIND]
            garment = Garment.from_strata(KINDS[place_of_kind], row)
            item_number += 1
            item = f"id_{item_number:08d}"
            for number in range(IMAGES_PER_ITEM):
                view = VIEWS[number % len(VIEWS)]
                name = f"img/{place_of_kind}/{item}/{number // len(VIEWS) + 1:02d}_{number % len(VIEWS) + 1}_{view}.jpg"
                rng = np.random.default_rng([seed, 23, item_number, number])
                picture, corners = draw_garment(garment, view, rng)
                save_jpeg(picture, folder / name)
                status = "train" if half == "train" else ("query", "gallery")[number % 2]
                partition.append((name, f"{item} {status}"))
                kind = f"{_CLOTHES_TYPE[garment.kind]} {_POSE_TYPE[view]}"
                boxes.append((name, f"{kind} {' '.join(f'{x:03d}' for x in corners)}"))
    save_list(folder / "Eval" / "list_eval_partition.txt", PARTITION_HEADER, partition)
    save_list(folder / "Anno" / "list_bbox_inshop.txt", BOX_HEADER, boxes)


def save_list(path: Path, header: str, rows: Iterable[tuple[str, str]]) -> None:
    """Save a list as it is published: the number of rows, the header, then rows with the name padded.

    Args:
        path: Where to.
        header: The names of the columns.
        rows: The picture's name, and the rest of the line.
    """
    lines = [f"{name:<{_NAME_COLUMNS - 1}} {rest}" for name, rest in rows]
    save_lines(path, [str(len(lines)), header, *lines])
