"""In-shop Clothes Retrieval of DeepFashion: 52,712 pictures of 7,982 garments."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.annotations import Columns, lookup, one_of, read_rows, relative_path
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol

PARTITION: Columns = {
    "image_name": relative_path,
    "item_id": str,
    "evaluation_status (train, query or gallery)": one_of("train", "query", "gallery"),
}
BOXES: Columns = {
    "image_name": relative_path,
    "clothes_type": int,
    "pose_type": int,
    "x_1": float,
    "y_1": float,
    "x_2": float,
    "y_2": float,
}


class InShop(RetrievalDataset):
    """In-shop Clothes Retrieval, its pictures in ``img/`` or in ``Img/img/``.

    The gallery holds no query, so there is no self match to take out.
    """

    name: ClassVar[str] = "inshop"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(
            dataset="inshop",
            name="query-gallery",
            self_match="keep",
            metrics=tuple(f"recall_at_{k}" for k in (1, 10, 20, 30, 40, 50)),
            main_metric="recall_at_1",
        ),
    )
    marker: ClassVar[str] = "Eval/list_eval_partition.txt"
    folder: ClassVar[str] = "In-shop Clothes Retrieval Benchmark"

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        rows = read_rows(
            self.root / self.marker, PARTITION, header="image_name item_id evaluation_status", counted=True
        )
        items, label = np.unique(np.array([item for _, item, _ in rows], np.str_), return_inverse=True)
        role = np.array([status for _, _, status in rows], np.str_)
        return SampleTable(
            path=tuple(path for path, _, _ in rows),
            label=label.astype(np.int64),
            class_names=tuple(str(x) for x in items),
            is_train=role == "train",
            is_query=role == "query",
            is_gallery=role == "gallery",
            box=self._boxes([path for path, _, _ in rows]),
        )

    def _boxes(self, paths: list[str]) -> npt.NDArray[np.float32] | None:
        file = self.root / "Anno" / "list_bbox_inshop.txt"
        if not file.is_file():
            return None
        rows = read_rows(file, BOXES, header=" ".join(BOXES), counted=True)
        box = {row[0]: row[3:] for row in rows}
        return np.array([lookup(box, path, file, "picture") for path in paths], np.float32).reshape(len(paths), 4)

    def image_path(self, row: int) -> Path:
        """Where the picture of a row lies: beside ``Eval/``, or in ``Img/`` as the archive's own folders have it."""
        return self._pictures / self.table.path[row]

    @cached_property
    def _pictures(self) -> Path:
        inner = self.root / "Img"
        return inner if (inner / "img").is_dir() and not (self.root / "img").is_dir() else self.root
