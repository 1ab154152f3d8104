"""Loaders, samplers, transforms: from a data set to batches."""

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.cars196 import Cars196DataModule
from retrieval_bench.datamodules.cub import CubDataModule
from retrieval_bench.datamodules.imagenet import ImageNetDataModule
from retrieval_bench.datamodules.inshop import InShopDataModule
from retrieval_bench.datamodules.oxford_paris import (
    Oxford5kDataModule,
    Oxford105kDataModule,
    Paris6kDataModule,
    Paris106kDataModule,
    ROxford5kDataModule,
    RParis6kDataModule,
)
from retrieval_bench.datamodules.sop import SOPDataModule
from retrieval_bench.datamodules.stanford_dogs import StanfordDogsDataModule
from retrieval_bench.datamodules.voc2007 import Voc2007DataModule

__all__ = [
    "Cars196DataModule",
    "CubDataModule",
    "ImageNetDataModule",
    "InShopDataModule",
    "Oxford5kDataModule",
    "Oxford105kDataModule",
    "Paris6kDataModule",
    "Paris106kDataModule",
    "ROxford5kDataModule",
    "RParis6kDataModule",
    "RetrievalDataModule",
    "SOPDataModule",
    "StanfordDogsDataModule",
    "Voc2007DataModule",
]
