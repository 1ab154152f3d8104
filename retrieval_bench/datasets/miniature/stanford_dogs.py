"""The miniature of Stanford Dogs: 20 breeds, seven pictures of each to train on and to search, five to ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval_bench.datasets.miniature.dogs import STRATA, Breed, draw_dog
from retrieval_bench.datasets.miniature.files import save_jpeg, save_mat
from retrieval_bench.datasets.miniature.strata import spread

BREEDS = 20
IMAGES_PER_CLASS = 12
TRAIN_SHARE = 7 / 12  # 12,000 of 20,580 in the original
_FIRST = ("Alder", "Birch", "Cedar", "Drift", "Ember", "Fell", "Glen", "Heath", "Isle", "Juniper")
_LAST = ("hound", "terrier")

ListRow = tuple[str, int]
"""A picture inside ``Images/``, and its class from 1."""


def write(folder: Path, seed: int) -> None:
    """Write ``Images/``, ``Annotation/`` and the lists side by side, as the archives unpack.

    Args:
        folder: Where to.
        seed: Which breeds and pictures.
    """
    rows = spread(np.random.default_rng([seed, 120]), BREEDS, STRATA)
    train: list[ListRow] = []
    test: list[ListRow] = []
    for place, row in enumerate(rows):
        breed, synset = Breed.from_strata(row), f"n{90_000_001 + place}"
        name = f"{_FIRST[place % 10]}_{_LAST[place // 10]}"
        mine: list[ListRow] = []
        for number in range(IMAGES_PER_CLASS):
            picture, box = draw_dog(breed, np.random.default_rng([seed, 120, place, number]))
            stem = f"{synset}-{name}/{synset}_{100 + 37 * number}"
            save_jpeg(picture, folder / "Images" / f"{stem}.jpg")
            _save_annotation(folder / "Annotation" / stem, name, picture, box)
            mine.append((f"{stem}.jpg", place + 1))
        half = round(TRAIN_SHARE * len(mine))
        # In the original neither half is sorted inside a class.
        order = np.random.default_rng([seed, 120, place]).permutation(len(mine)).tolist()
        train += [mine[i] for i in order[:half]]
        test += [mine[i] for i in order[half:]]
    save_mat(folder / "train_list.mat", list_variables(train))
    save_mat(folder / "test_list.mat", list_variables(test))
    save_mat(folder / "file_list.mat", list_variables(sorted(train + test)))


def list_variables(rows: Sequence[ListRow]) -> dict[str, npt.NDArray[Any]]:
    """The variables of one of the published lists: columns, two of cells and one of numbers.

    Args:
        rows: Picture and class of each row.

    Returns:
        ``file_list`` and ``annotation_list``, ``(n, 1)`` cells, and ``labels``, ``(n, 1)`` uint8.
    """
    files, annotations = (np.empty((len(rows), 1), dtype=object) for _ in range(2))
    for i, (file, _) in enumerate(rows):
        files[i, 0], annotations[i, 0] = file, file.removesuffix(".jpg")
    labels = np.array([[label] for _, label in rows], np.uint8).reshape(-1, 1)
    return {"file_list": files, "annotation_list": annotations, "labels": labels}


def _save_annotation(path: Path, breed: str, picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    text = (
        "<annotation>\n"
        f"\t<folder>{path.parent.name.partition('-')[0][1:]}</folder>\n"
        f"\t<filename>{path.name}</filename>\n"
        "\t<source>\n\t\t<database>retrieval_bench miniature</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{picture.width}</width>\n\t\t<height>{picture.height}</height>\n"
        "\t\t<depth>3</depth>\n\t</size>\n"
        "\t<segment>0</segment>\n"
        f"\t<object>\n\t\t<name>{breed}</name>\n\t\t<pose>Unspecified</pose>\n"
        "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox>\n\t\t\t<xmin>{left}</xmin>\n\t\t\t<ymin>{top}</ymin>\n"
        f"\t\t\t<xmax>{right}</xmax>\n\t\t\t<ymax>{bottom}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        "</annotation>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
