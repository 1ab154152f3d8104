"""Batches of PASCAL VOC 2007: pictures with the boxes of their objects."""

from typing import Any, ClassVar, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.images import Batch, PictureSource, sample_of
from retrieval_bench.datamodules.samplers import Draw, IntArray
from retrieval_bench.datamodules.transforms import random_window, scale_box
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.images import image_size
from retrieval_bench.datasets.voc2007 import Voc2007
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import Preprocessing


class Voc2007DataModule(RetrievalDataModule):
    """PASCAL VOC 2007; see ``Voc2007`` for its layout.

    One picture is a batch, for each has a size and a number of objects of its own. Besides what is in every batch,
    there is ``objects (1, n, 4)`` float32: x1, y1, x2, y2 in pixels of ``image``.
    """

    dataset_class: ClassVar[type[RetrievalDataset]] = Voc2007

    def __init__(self, **options: Any) -> None:
        """Choose data; nothing is read yet.

        Args:
            **options: As for every data module, but for ``batch_size``.
        """
        super().__init__(batch_size=1, **options)

    @property
    def training_labels(self) -> IntArray:
        """``(n,)`` zeros: all pictures are trained on, and none has a class."""
        return np.zeros(len(self.table), np.int64)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Refuse: who learns to describe pictures needs other data.

        Raises:
            OptionError: Always.
        """
        raise OptionError(
            "voc2007 has no pictures to ask or to search: train RPN on it, and other methods on another data set"
        )

    def _training_images(self) -> Dataset[Batch]:
        return _ObjectImages(self._source(), cast("Voc2007", self.dataset), self._recipe())


class _ObjectImages(Dataset[Batch]):
    """Augmented pictures and the objects in them."""

    def __init__(self, pictures: PictureSource, dataset: Voc2007, preprocessing: Preprocessing) -> None:
        self._pictures, self._dataset, self._preprocessing = pictures, dataset, preprocessing

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, draw: Draw) -> Batch:
        picture = self._pictures[draw.row]
        size = (picture.pixels.shape[0], picture.pixels.shape[1])
        window = random_window(*size, self._preprocessing, draw.seed)
        original = image_size(self._dataset.image_path(draw.row))
        objects = [window.move(scale_box(box, original, size)) for box in self._dataset.objects(draw.row)]
        return {
            **sample_of(draw.row, 0, picture, window),
            "objects": np.array(objects, np.float32).reshape(-1, 4),
        }
