"""Loaders, samplers, transforms: from a data set to batches."""

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.cars196 import Cars196DataModule
from retrieval_bench.datamodules.cub import CubDataModule
from retrieval_bench.datamodules.inshop import InShopDataModule
from retrieval_bench.datamodules.sop import SOPDataModule

__all__ = [
    "Cars196DataModule",
    "CubDataModule",
    "InShopDataModule",
    "RetrievalDataModule",
    "SOPDataModule",
]
