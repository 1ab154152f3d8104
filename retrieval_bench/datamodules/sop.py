"""Batches of Stanford Online Products."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.sop import StanfordOnlineProducts


class SOPDataModule(RetrievalDataModule):
    """Stanford Online Products; see ``StanfordOnlineProducts`` for its layout and protocols."""

    dataset_class: ClassVar[type[RetrievalDataset]] = StanfordOnlineProducts
