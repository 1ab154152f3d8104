"""Batches of CUB-200-2011."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.cub import Cub200


class CubDataModule(RetrievalDataModule):
    """CUB-200-2011; see ``Cub200`` for its layout and protocols."""

    dataset_class: ClassVar[type[RetrievalDataset]] = Cub200
