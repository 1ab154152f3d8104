"""Batches of ILSVRC2012, or of any labelled folders in its layout."""

from typing import ClassVar

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.image_folder import ImageNet


class ImageNetDataModule(RetrievalDataModule):
    """ILSVRC2012; see ``ImageNet`` for its layout and its protocol."""

    dataset_class: ClassVar[type[RetrievalDataset]] = ImageNet
