"""A small real subset of a data set, in the data set's own format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.miniature.files import save_mat
from retrieval_bench.datasets.staging import is_vacant, staged
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import IntArray

NOTE = "SUBSET.txt"


def cut_subset(dataset: RetrievalDataset, target: Path, *, classes: int, images_per_class: int, seed: int = 0) -> Path:
    """Cut a subset: some classes of each side of the default protocol, and equally many pictures of each.

    Where the pictures trained on are also searched, every class is on both sides, and each one chosen keeps about its
    own ratio of queries.

    Names and numbers of pictures and classes stay those of the whole. Pictures are hard-linked where the file
    system allows it, else copied.

    Args:
        dataset: Where to cut from.
        target: The folder to write; it must be new or empty.
        classes: How many classes; half of them to train on, and one more if the number is odd, unless all are.
        images_per_class: How many pictures of each, at least two.
        seed: Which of the possible classes and pictures.

    Returns:
        The target.

    Raises:
        DataError: If there are too few classes or pictures, a picture is missing, or the target holds something.
    """
    if classes < 2 or images_per_class < 2:
        raise DataError(
            f"a subset needs at least 2 classes (one to train on, one to search) of 2 images, "
            f"not {classes} of {images_per_class}"
        )
    if dataset.name not in _ANNOTATIONS:
        raise DataError(
            f"{dataset.name} cannot be cut: only {', '.join(_ANNOTATIONS)} can, where equal labels are what is to be "
            f"found. For something small, `retrieval-bench data synthesize {dataset.name}`"
        )
    if not is_vacant(target):
        raise DataError(f"{target} is not empty; name an empty folder or a new one")
    if dataset.protocol.name != dataset.protocols[0].name:
        dataset = type(dataset)(dataset.root)
    rows = _choose(dataset, classes, images_per_class, seed)
    with staged(target) as part:
        top = part / dataset.folder
        top.mkdir(parents=True, exist_ok=True)
        _ANNOTATIONS[dataset.name](dataset.root, top, {dataset.table.path[row] for row in rows})
        for row in rows:
            picture = dataset.image_path(row)
            _place(picture, top / picture.relative_to(dataset.root))
        (part / NOTE).write_text(
            f"A subset of {dataset.card.title}, cut by `retrieval-bench data subset`: {classes} classes, "
            f"{images_per_class} images of each, seed {seed}.\nScores on it are comparable with no published number.\n"
            f"Terms of the pictures: {dataset.card.terms}\n",
            encoding="utf-8",
        )
    return target


def _choose(dataset: RetrievalDataset, classes: int, images: int, seed: int) -> list[int]:
    table, rng = dataset.table, np.random.default_rng(seed)
    chosen: list[int] = []
    shared = bool((table.is_train & table.is_gallery).any())
    sides = {"only": classes} if shared else {"train": classes - classes // 2, "test": classes // 2}
    for side, wanted in sides.items():
        able = _able(table, side, images)
        if len(able) < wanted:
            raise DataError(_too_few(dataset, side, wanted, images, len(able)))
        labels = sorted(able)
        for i in sorted(rng.choice(len(labels), wanted, replace=False).tolist()):
            chosen += _draw(table, able[labels[i]], images, rng)
    return sorted(chosen)


def _able(table: SampleTable, side: str, images: int) -> dict[int, IntArray]:
    """The rows of each class that has enough images, and on the test side somebody to ask and somebody to find."""
    roles = {"train": table.is_train, "test": table.is_query | table.is_gallery}
    rows = np.flatnonzero(roles.get(side, roles["train"] | roles["test"]))
    by_class = {int(label): rows[table.label[rows] == label] for label in np.unique(table.label[rows])}
    return {
        label: members
        for label, members in by_class.items()
        if len(members) >= images
        and (side == "train" or (table.is_query[members].any() and table.is_gallery[members].any()))
    }


def _draw(table: SampleTable, members: IntArray, images: int, rng: np.random.Generator) -> list[int]:
    """Rows of one class; where queries and gallery are apart, both are there in about the class's own ratio."""
    order = rng.permutation(members)
    queries = [int(row) for row in order if table.is_query[row] and not table.is_gallery[row]]
    others = [int(row) for row in order if table.is_train[row] or table.is_gallery[row]]
    if not queries:
        return others[:images]
    share = round(images * len(queries) / len(members))
    asked = min(max(share, 1, images - len(others)), len(queries), images - 1)
    return queries[:asked] + others[: images - asked]


def _too_few(dataset: RetrievalDataset, side: str, wanted: int, images: int, found: int) -> str:
    table, most = dataset.table, images
    while most > 2 and len(_able(table, side, most)) < wanted:
        most -= 1
    enough = len(_able(table, side, most))
    hint = f"; with {most} images a class there would be {enough}" if most < images else ""
    where = "" if side == "only" else f" on the {side} side"
    return (
        f"{dataset.root} has {found} classes with {images} images or more{where}, "
        f"{wanted} are wanted{hint}. Ask for fewer classes or images"
    )


def _place(source: Path, place: Path) -> None:
    source = source.resolve()
    if not source.is_file():
        raise DataError(f"there is no {source}; a subset needs the pictures, not the annotation files alone")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _filter_lines(source: Path, place: Path, keep: Callable[[list[str]], bool], *, heading: int = 0) -> None:
    """Copy the lines whose words pass; a count in the first line is corrected."""
    if not source.is_file():
        return
    lines = source.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[heading:] if line.strip() and keep(line.split())]
    head = lines[:heading]
    if head and head[0].strip().isdecimal():
        head[0] = str(len(kept))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{line}\n" for line in [*head, *kept]), encoding="utf-8", newline="\n")


def _cut_cub(source: Path, top: Path, paths: Collection[str]) -> None:
    images, classes = set(), set()
    for line in (source / "images.txt").read_text(encoding="utf-8").splitlines():
        number, _, path = line.strip().partition(" ")
        if f"images/{path.strip()}" in paths:
            images.add(number)
    for line in (source / "image_class_labels.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and line.split()[0] in images:
            classes.add(line.split()[1])
    per_image = ("images", "image_class_labels", "train_test_split", "bounding_boxes", "parts/part_locs")
    for name in per_image:
        _filter_lines(source / f"{name}.txt", top / f"{name}.txt", lambda words: words[0] in images)
    _filter_lines(source / "classes.txt", top / "classes.txt", lambda words: words[0] in classes)
    _filter_lines(source / "parts" / "parts.txt", top / "parts" / "parts.txt", lambda _: True)


def _cut_stanford_dogs(source: Path, top: Path, paths: Collection[str]) -> None:
    from scipy.io import loadmat

    for name in ("train_list.mat", "test_list.mat", "file_list.mat"):
        if not (source / name).is_file():
            continue
        content = {key: value for key, value in loadmat(source / name).items() if not key.startswith("__")}
        kept = [i for i, file in enumerate(content["file_list"][:, 0]) if f"Images/{file.item()}" in paths]
        save_mat(top / name, {key: column[kept] for key, column in content.items()})
    if (source / "Annotation").is_dir():
        for path in paths:
            place = Path("Annotation", *Path(path).with_suffix("").parts[1:])
            _place(source / place, top / place)


def _cut_sop(source: Path, top: Path, paths: Collection[str]) -> None:
    for name in ("Ebay_train.txt", "Ebay_test.txt", "Ebay_info.txt"):
        _filter_lines(source / name, top / name, lambda words: words[-1] in paths, heading=1)


def _cut_inshop(source: Path, top: Path, paths: Collection[str]) -> None:
    for name in ("Eval/list_eval_partition.txt", "Anno/list_bbox_inshop.txt"):
        _filter_lines(source / name, top / name, lambda words: words[0] in paths, heading=2)


def _cut_cars196(source: Path, top: Path, paths: Collection[str]) -> None:
    pooled = not (source / "devkit" / "cars_train_annos.mat").is_file()
    if pooled:
        _filter_mat(source / "cars_annos.mat", top / "cars_annos.mat", "relative_im_path", "", paths)
        return
    test = ("devkit/cars_test_annos.mat", "cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")
    for name in ("devkit/cars_train_annos.mat", *test):
        folder = "cars_test/" if name in test else "cars_train/"
        _filter_mat(source / name, top / name, "fname", folder, paths)
    _place(source / "devkit" / "cars_meta.mat", top / "devkit" / "cars_meta.mat")
    for name in ("cars_test_labels.txt", "devkit/cars_test_labels.txt", "mmalnet_test.txt"):
        _filter_lines(source / name, top / name, lambda words: f"cars_test/{words[0]}" in paths)


def _filter_mat(source: Path, place: Path, key: str, folder: str, paths: Collection[str]) -> None:
    from scipy.io import loadmat

    if not source.is_file():
        return
    content = {name: value for name, value in loadmat(source).items() if not name.startswith("__")}
    annotations = content["annotations"]
    kept = [i for i, name in enumerate(annotations[key][0]) if f"{folder}{name.item()}" in paths]
    content["annotations"] = annotations[:, kept]
    save_mat(place, content)


_ANNOTATIONS: dict[str, Callable[[Path, Path, Collection[str]], None]] = {
    "cars196": _cut_cars196,
    "cub": _cut_cub,
    "inshop": _cut_inshop,
    "sop": _cut_sop,
    "stanford_dogs": _cut_stanford_dogs,
}
