"""CUB-200-2011: 11,788 pictures of 200 kinds of birds."""

from typing import ClassVar

import numpy as np

from retrieval_bench.datasets.annotations import flag, lookup, read_keyed, relative_path
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol, hashing_protocol

RECALLS = tuple(f"recall_at_{k}" for k in (1, 2, 4, 8, 16, 32))
LAST_TRAIN_CLASS = 100


class Cub200(RetrievalDataset):
    """CUB-200-2011 in the layout of ``CUB_200_2011.tgz``."""

    name: ClassVar[str] = "cub"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(dataset="cub", name="zero-shot", metrics=RECALLS, main_metric="recall_at_1"),
        Protocol(dataset="cub", name="official", metrics=RECALLS, main_metric="recall_at_1"),
        hashing_protocol("cub"),  # on the official split
    )
    marker: ClassVar[str] = "images.txt"
    folder: ClassVar[str] = "CUB_200_2011"
    annotations: ClassVar[tuple[str, ...]] = (
        "images.txt",
        "image_class_labels.txt",
        "classes.txt",
        "train_test_split.txt",
    )

    def _read(self, protocol: str) -> SampleTable:
        images, labels, classes, split, boxes = (self.root / name for name in (*self.annotations, "bounding_boxes.txt"))
        path = read_keyed(images, {"image id": int, "path": relative_path})
        class_of = read_keyed(labels, {"image id": int, "class id": int})
        names = read_keyed(classes, {"class id": int, "class name": str})
        position = {class_id: i for i, class_id in enumerate(names)}

        class_ids = [lookup(class_of, image, labels, "image id")[0] for image in path]
        label = np.array([lookup(position, c, classes, "class id") for c in class_ids], np.int64)
        if protocol == "zero-shot":
            is_train = np.array(class_ids, np.int64) <= LAST_TRAIN_CLASS
        else:
            half = read_keyed(split, {"image id": int, "0 or 1 (trained on)": flag})
            is_train = np.array([lookup(half, image, split, "image id")[0] for image in path], np.bool_)
        box = None
        if boxes.is_file():
            corner = read_keyed(boxes, {"image id": int, "x": float, "y": float, "width": float, "height": float})
            box = np.array([lookup(corner, image, boxes, "image id") for image in path], np.float32).reshape(-1, 4)
            box[:, 2:] += box[:, :2]
        return SampleTable(
            path=tuple(f"images/{name}" for (name,) in path.values()),
            label=label,
            class_names=tuple(name for (name,) in names.values()),
            is_train=is_train,
            is_query=~is_train,
            is_gallery=is_train if protocol == "hashing" else ~is_train,
            box=box,
        )
