"""QueryDetector: Faster R-CNN Features for Instance Search.

Salvador, Giró-i-Nieto, Marqués, Satoh; CVPR Workshops 2016; arXiv 1604.08893. The first training of UDQ's trunk
(Neurocomputing 2019), section 4.2.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor
from torch.optim import SGD
from torchvision.ops import clip_boxes_to_image

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.base import Batch, TrainedNetwork
from retrieval_bench.nn.backbones import Backbone, Tap, origin
from retrieval_bench.nn.detection import detection_heads
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing, WeightsFamily
from retrieval_bench.nn.proposals import grid_boxes

_TAP: Tap = "last_at_16"  # UDQ's; behind all convolutions, so that all of them are in the checkpoint
_PROPOSALS = 200  # of a grid; as many as UDQ has


class QueryDetector(TrainedNetwork):
    """Fine-tunes a trunk to detect what a data set's queries show, with their boxes and classes. It is for ``fit``.

    This trains on the test: what is learned knows each query and what it shows. UDQ's paper most likely describes
    pictures with such a trunk; give its checkpoint as ``weights`` of UDQ, whose result then says so.

    Args:
        classes: How many landmarks the queries show; 11 in either city.
        backbone: The trunk; UDQ has ``vgg16`` and ``resnet101``.
        weights: ``imagenet``, ``none``, or the path of a state dict with torchvision's keys.
        weights_family: See ``Preprocessing``.
        shorter_side: Of pictures, in pixels.
        longest_side: Of pictures, at most.
        proposals: What ``retrieval-bench proposals`` wrote, as for UDQ; ``grid`` for the boxes of a grid.
        optimizer: SGD with UDQ's rate (section 4.2), and momentum and decay of Faster R-CNN's public code; one rate all
            along.

    Raises:
        OptionError: If an option makes no sense, or a data set has no queries that could be learned from.

    Attributes:
        learned_from: What it was trained on, in words; empty if it was not.
    """

    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(
        self,
        classes: int = 11,
        backbone: str = "resnet101",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        shorter_side: int = 600,
        longest_side: int = 1000,
        proposals: str = "grid",
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=1e-3, momentum=0.9, weight_decay=5e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        if classes < 1:
            raise OptionError(f"classes is {classes}: queries show at least 1")
        self.preprocessing = Preprocessing(
            MinSide(shorter_side, longest_side),
            flip=0,  # here, together with the proposals
            family=weights_family,
            proposals=None if proposals == "grid" else Path(proposals.replace("{backbone}", backbone)),
        )
        self.backbone = Backbone(backbone, [_TAP], weights=weights, family=weights_family, freeze_batch_norm=True)
        self.backbone.train_last_groups()
        self.heads = detection_heads(self.backbone.channels(_TAP), self.backbone.stride(_TAP), classes)
        self.classes, self.optimizer = classes, optimizer
        self.trunk_from = origin(weights)
        self.learned_from = ""
        self._labels = torch.empty(0, dtype=torch.int64)

    def on_fit_start(self) -> None:
        """Say what is learned from.

        Raises:
            OptionError: If there are no queries with boxes and classes, or not so many classes.
        """
        data = self._data()
        name, protocol, labels = data.dataset.name, data.protocol, data.table.label[data.table.rows("query")]
        if data.table.box is None or not len(labels) or labels.min() < 0:
            raise OptionError(
                f"{name} has no queries with boxes and classes, which QueryDetector learns from: train it on landmarks"
            )
        if protocol.query_crop == "image" or protocol.image_crop == "box":
            raise OptionError(
                f"protocol {protocol.name!r} of {name} crops queries to their boxes, and QueryDetector learns where "
                "in a picture they are: use another protocol"
            )
        found = np.unique(labels)
        if len(found) != self.classes:
            raise OptionError(
                f"classes is {self.classes}, and the queries of {name} show {len(found)}: set "
                f"--model.init_args.classes {len(found)}"
            )
        self._labels = torch.from_numpy(found)
        self.learned_from = (
            f"the {len(labels):,} test queries of {name} with their boxes and landmarks (a leak: it was told what will "
            f"be asked), before that {self.trunk_from}"
        )

    def training_batches(self) -> Iterable[Batch]:
        """The queries' whole pictures, one by one."""
        data = self._data()
        pictures: Iterable[Batch] = data.shuffled_dataloader(data.table.rows("query"))
        return pictures

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Fast R-CNN's two losses of 128 regions of each picture."""
        del batch_idx
        image, proposals = batch["image"], self._proposals(batch)
        box = clip_boxes_to_image(batch["box"], (image.shape[2], image.shape[3]))  # published ones reach beyond
        if torch.rand(()) < 0.5:
            image, box, proposals = image.flip(3), flipped(box, image.shape[3]), flipped(proposals, image.shape[3])
        label = torch.searchsorted(self._labels.to(image.device), batch["label"]) + 1
        for name, loss in (losses := self.losses(image, box, label, proposals)).items():
            self.log(f"train/{name}", loss)
        return losses["classes"] + losses["boxes"]

    def losses(self, image: Tensor, box: Tensor, label: Tensor, proposals: Tensor) -> dict[str, Tensor]:
        """What regions of pictures cost, drawn anew, in training mode.

        Args:
            image: ``(B, 3, H, W)`` normalised.
            box: ``(B, 4)`` of what is asked for: x1, y1, x2, y2 in pixels.
            label: ``(B,)`` its class, from 1 on.
            proposals: ``(B, R, 4)`` in pixels.

        Returns:
            ``classes``, the cross-entropy, and ``boxes``, the smooth L1 of how they are to be moved.
        """
        maps = self.backbone(image)[_TAP]
        size = (image.shape[2], image.shape[3])
        wanted = [{"boxes": mine[None], "labels": its[None]} for mine, its in zip(box, label, strict=True)]
        with torch.autocast(image.device.type, enabled=False):  # boxes want float32, whatever the trunk computes in
            cells = {"map": maps.float().contiguous()}
            _, losses = self.heads(cells, list(proposals), [size] * len(image), wanted)
        return {"classes": losses["loss_classifier"], "boxes": losses["loss_box_reg"]}

    def configure_optimizers(self) -> Any:
        """One rate all along."""
        return self.optimizer(self.parameter_groups())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned from beside what was learned."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["learned_from"] = self.learned_from

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self.learned_from = checkpoint["learned_from"]

    def _data(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it

    def _proposals(self, batch: Batch) -> Tensor:
        """``(B, R, 4)`` where objects may be, in pixels."""
        if self.preprocessing.proposals is not None:
            return batch["proposals"]
        image = batch["image"]
        boxes = grid_boxes(image.shape[2], image.shape[3], _PROPOSALS).to(image.device)
        return boxes.expand(len(image), *boxes.shape)


def flipped(boxes: Tensor, width: int) -> Tensor:
    """Boxes ``(..., 4)`` in the mirror image of a picture so many pixels wide."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=-1)
