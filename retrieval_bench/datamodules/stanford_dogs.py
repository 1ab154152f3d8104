"""Batches of Stanford Dogs."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.stanford_dogs import StanfordDogs


class StanfordDogsDataModule(RetrievalDataModule):
    """Stanford Dogs; see ``StanfordDogs`` for its layout and protocols."""

    dataset_class: ClassVar[type[RetrievalDataset]] = StanfordDogs
