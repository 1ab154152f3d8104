"""Pictures that belong to no data set, prepared as a protocol and a method prepare theirs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.datamodules.images import Batch
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.nn.preprocessing import Preprocessing
from retrieval_bench.retrieval.protocol import Protocol

WHOLE = (0.0, 0.0, math.inf, math.inf)
"""The box of a whole picture that nobody has opened yet."""


class LoosePictures(RetrievalDataset):
    """Picture files in a folder, as queries or as a gallery under a protocol.

    Args:
        root: The folder.
        paths: The pictures, relative to it.
        protocol: How they are cropped.
        role: Whether they are cropped as queries are, or as what is searched.
        box: One box for all of them: x1, y1, x2, y2 in pixels. Where the protocol crops to boxes, None is the whole
            picture.
    """

    name = "pictures"
    marker = ""
    protocols = ()

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        protocol: Protocol,
        *,
        role: Literal["query", "gallery"],
        box: tuple[float, float, float, float] | None = None,
    ) -> None:
        self.root = self._given = root
        self._declared = self.protocol = protocol
        self._paths, self._role = tuple(paths), role
        crops = protocol.image_crop == "box" or protocol.query_crop != "none"
        self._box = WHOLE if box is None and crops else box

    def _read(self, protocol: str) -> SampleTable:
        del protocol
        count = len(self._paths)
        box: npt.NDArray[np.float32] | None = None
        if self._box is not None:
            box = np.tile(np.array(self._box, np.float32), (count, 1))
        asks = np.full(count, self._role == "query")
        return SampleTable(self._paths, np.full(count, -1), (), np.zeros(count, np.bool_), asks, ~asks, box)


class LooseDataModule(RetrievalDataModule):
    """Batches of loose pictures; nothing can be learned from them or measured on them.

    Args:
        pictures: The pictures.
        preprocessing: As the method wants them, without what files say of a data set's own pictures: saliency boxes
            and region proposals. Where it wants proposals, the whole picture stands for them.
        eval_batch_size: Pictures in a batch, at most.
        num_workers: Processes that decode; None for as many as there are cores, at most 8.
    """

    dataset_class: ClassVar[type[RetrievalDataset]] = LoosePictures

    def __init__(
        self,
        pictures: LoosePictures,
        preprocessing: Preprocessing,
        *,
        eval_batch_size: int = 1,
        num_workers: int | None = 0,
    ) -> None:
        super().__init__(pictures.root, eval_batch_size=eval_batch_size, num_workers=num_workers)
        self.dataset = pictures
        self.preprocessing = replace(preprocessing, boxes=None, proposals=None)
        self._proposes = preprocessing.proposals is not None

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """As for all data, and with what stands for proposals."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if not self._proposes:
            return batch
        image = batch["image"]
        whole = torch.tensor([0.0, 0.0, image.shape[3], image.shape[2]], device=image.device)
        return {**batch, "proposals": whole.expand(len(image), 1, 4)}
