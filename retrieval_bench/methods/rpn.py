"""RPN: Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks.

Ren, He, Girshick, Sun; NeurIPS 2015; arXiv 1506.01497. The regions of UDQ (Neurocomputing 2019), section 4.1.
"""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from retrieval_bench.methods.base import TrainedNetwork
from retrieval_bench.nn.backbones import origin
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing, WeightsFamily
from retrieval_bench.nn.rpn import ProposalNetwork


class RPN(TrainedNetwork):
    """Learns where objects are, from their boxes, on a frozen trunk. It describes no pictures: it is for ``fit`` alone.

    Args:
        backbone: The trunk: ``vgg16`` or ``resnet101``, both at stride 16 (UDQ, section 4.1).
        weights: ``imagenet``, ``none``, or the path of a state dict with torchvision's keys.
        weights_family: ``torchvision`` or ``caffe``.
        anchors: Sides of the square anchors in pixels (section 3.3).
        count: How many boxes are kept of a picture (UDQ: 200).
        min_side: The shorter side of pictures in pixels (both papers).
        max_side: The most that the longer side may have (both papers).
        optimizer: SGD, 0.001, momentum 0.9, weight decay 5e-4 (section 3.1.3, and its public code).
        lr_scheduler: A tenth after 50,000 of 70,000 iterations, as in Faster R-CNN's public code; UDQ gives none.

    Raises:
        OptionError: If an option makes no sense.

    Attributes:
        learned_from: What it was trained on, in words; empty if it was not.
    """

    def __init__(
        self,
        backbone: str = "vgg16",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        anchors: Sequence[int] = (128, 256, 512),
        count: int = 200,
        min_side: int = 600,
        max_side: int = 1000,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.001, momentum=0.9, weight_decay=5e-4),
        lr_scheduler: LRSchedulerCallable = lambda optimizer: StepLR(optimizer, step_size=50_000, gamma=0.1),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        self.preprocessing = Preprocessing(resize=MinSide(min_side, max_side), family=weights_family)
        self.network = ProposalNetwork(backbone, weights, weights_family, anchors=anchors, count=count)
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.trunk_from = origin(weights)
        self.learned_from = ""

    def forward(self, image: Tensor) -> Tensor:
        """Boxes of pictures: ``(B, 3, H, W)`` to ``(B, count, 4)`` in their pixels, the best first."""
        boxes: Tensor = self.network(image)
        return boxes

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of 256 anchors of each picture (equation 1)."""
        del batch_idx
        losses = self.network.losses(batch["image"], batch["objects"])
        for name, value in losses.items():
            self.log(f"train/{name}", value)
        return losses["objectness"] + losses["boxes"]

    def on_fit_start(self) -> None:
        """Say what is learned from."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        boxes = f"the boxes in {len(data.table):,} pictures of {data.dataset.name}"
        self.learned_from = f"{boxes}, on {self.trunk_from}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned from beside what was learned."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["learned_from"] = self.learned_from

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self.learned_from = checkpoint["learned_from"]
