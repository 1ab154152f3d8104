"""Batches of Cars196."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.cars196 import Cars196


class Cars196DataModule(RetrievalDataModule):
    """Cars196; see ``Cars196`` for its layout and protocols."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Cars196
