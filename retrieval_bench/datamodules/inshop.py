"""Batches of In-shop Clothes Retrieval."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.inshop import InShop


class InShopDataModule(RetrievalDataModule):
    """In-shop Clothes Retrieval; see ``InShop`` for its layout and protocols."""

    dataset_class: ClassVar[type[RetrievalDataset]] = InShop
