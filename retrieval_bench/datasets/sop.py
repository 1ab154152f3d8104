"""Stanford Online Products: 120,053 pictures of 22,634 products on sale."""

from typing import ClassVar

import numpy as np

from retrieval_bench.datasets.annotations import Columns, read_rows, relative_path
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol

COLUMNS: Columns = {"image_id": int, "class_id": int, "super_class_id": int, "path": relative_path}


class StanfordOnlineProducts(RetrievalDataset):
    """Stanford Online Products in the layout of ``Stanford_Online_Products.zip``."""

    name: ClassVar[str] = "sop"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(
            dataset="sop",
            name="zero-shot",
            metrics=("recall_at_1", "recall_at_10", "recall_at_100", "recall_at_1000"),
            main_metric="recall_at_1",
        ),
    )
    marker: ClassVar[str] = "Ebay_train.txt"
    folder: ClassVar[str] = "Stanford_Online_Products"
    annotations: ClassVar[tuple[str, ...]] = ("Ebay_train.txt", "Ebay_test.txt")

    def _read(self, protocol: str) -> SampleTable:  # noqa: ARG002 - there is one
        train, test = (read_rows(self.root / name, COLUMNS, header=" ".join(COLUMNS)) for name in self.annotations)
        rows = train + test
        product = np.array([row[1] for row in rows], np.int64)
        products, label = np.unique(product, return_inverse=True)
        is_train = np.arange(len(rows)) < len(train)
        return SampleTable(
            path=tuple(row[3] for row in rows),
            label=label.astype(np.int64),
            class_names=tuple(str(x) for x in products),
            is_train=is_train,
            is_query=~is_train,
            is_gallery=~is_train,
        )
