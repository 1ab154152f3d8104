"""The miniature of Cars196: 20 models, half of them on each side of the class split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.miniature.cars import STRATA, Model, draw_car
from retrieval_bench.datasets.miniature.files import save_jpeg, save_mat
from retrieval_bench.datasets.miniature.strata import spread

CLASS_IDS = (*range(1, 11), *range(99, 109))
IMAGES_PER_CLASS = 12
_MAKES = ("Aldane", "Brevik", "Corvo", "Delmar", "Esker", "Falke", "Gavia", "Hollin", "Istra", "Jorund")
_KINDS = ("Sedan", "Coupe", "Wagon", "SUV", "Hatchback", "Minivan", "Convertible")
_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")

Annotation = tuple[tuple[int, int, int, int], int, str]


def write(folder: Path, seed: int) -> None:
    """Write ``cars_train/``, ``cars_test/``, ``devkit/`` and the test classes side by side, as the archives unpack.

    Args:
        folder: Where to.
        seed: Which models and pictures.
    """
    rows = spread(np.random.default_rng([seed, 196]), len(CLASS_IDS), STRATA)
    models = dict(zip(CLASS_IDS, map(Model.from_strata, rows), strict=True))
    order = np.random.default_rng([seed, 196, 0]).permutation(len(CLASS_IDS) * IMAGES_PER_CLASS)
    halves: dict[str, list[Annotation]] = {"train": [], "test": []}
    # The original's pictures are not sorted by class either.
    for place in order.tolist():
        class_id, number = CLASS_IDS[place // IMAGES_PER_CLASS], place % IMAGES_PER_CLASS
        picture, box = draw_car(models[class_id], np.random.default_rng([seed, 196, class_id, number]))
        half = "train" if number % 2 == 0 else "test"
        name = f"{len(halves[half]) + 1:05d}.jpg"
        save_jpeg(picture, folder / f"cars_{half}" / name)
        halves[half].append((box, class_id, name))
    devkit = folder / "devkit"
    names = np.array([[_class_name(i) for i in range(1, 197)]], dtype=object)
    save_mat(devkit / "cars_meta.mat", {"class_names": names})
    save_mat(devkit / "cars_train_annos.mat", {"annotations": struct_array(halves["train"])})
    save_mat(devkit / "cars_test_annos.mat", {"annotations": struct_array(halves["test"], classes=False)})
    save_mat(folder / "cars_test_annos_withlabels.mat", {"annotations": struct_array(halves["test"])})


def struct_array(rows: list[Annotation], *, classes: bool = True) -> npt.NDArray[np.void]:
    """The struct array of the development kit.

    Args:
        rows: Box (left, top, right, bottom; from 0, right and bottom outside), class and file of each picture.
        classes: Whether the struct has a class; the kit's own test file has none.

    Returns:
        ``(1, n)`` records.
    """
    fields = (*_BOX, "class", "fname") if classes else (*_BOX, "fname")
    struct = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for i, ((left, top, right, bottom), class_id, name) in enumerate(rows):
        # MATLAB counts pixels from 1, and its corners are inside the box.
        numbers = [_number(x) for x in (left + 1, top + 1, right, bottom)]
        struct[0, i] = (*numbers, *([_number(class_id)] if classes else []), name)
    return struct


def _number(value: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    return np.array([[value]], dtype=np.uint8) if value < 256 else np.array([[value]], dtype=np.uint16)


def _class_name(class_id: int) -> str:
    number = class_id - 1
    return f"{_MAKES[number % 10]} {_MAKES[number // 10 % 10][:3]}{number} {_KINDS[number % 7]} {2005 + number % 8}"
