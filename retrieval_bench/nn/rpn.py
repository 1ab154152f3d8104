"""A region proposal network on a frozen trunk: Faster R-CNN, Ren et al., NeurIPS 2015, section 3.1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.backbones import Backbone, Tap
from retrieval_bench.nn.preprocessing import WeightsFamily

ASPECTS = (0.5, 1.0, 2.0)


class ProposalNetwork(nn.Module):
    """Boxes that may hold objects, whatever the class, from torchvision's parts.

    Args:
        backbone: The trunk.
        weights: Of the trunk, see ``Backbone``.
        family: Their convention of pixel values.
        tap: On which map of the trunk; stride 16 in the paper.
        anchors: Sides of the square anchors in pixels; each comes in the aspects 1:2, 1:1 and 2:1 as well.
        count: How many boxes are kept of a picture.

    Raises:
        OptionError: If no box is kept, or an option of the trunk is not known.
    """

    def __init__(
        self,
        backbone: str = "vgg16",
        weights: str = "imagenet",
        family: WeightsFamily = "torchvision",
        tap: Tap = "stride16",
        anchors: Sequence[int] = (128, 256, 512),
        count: int = 200,
    ) -> None:
        super().__init__()
        if count < 1 or not anchors or min(anchors) < 1:
            raise OptionError(f"there are no {count} proposals from anchors of {list(anchors)} pixels; use 1 or more")
        self.backbone = Backbone(backbone, [tap], weights=weights, family=family).requires_grad_(False)
        self.tap, self.count = tap, count
        channels = self.backbone.channels(tap)
        self.rpn = RegionProposalNetwork(
            AnchorGenerator((tuple(anchors),), (ASPECTS,)),
            _head(channels, len(anchors) * len(ASPECTS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            # What training proposes goes nowhere: one box is enough.
            pre_nms_top_n={"training": 1, "testing": 6000},
            post_nms_top_n={"training": 1, "testing": count},
            nms_thresh=0.7,
        )
        self.train()

    def train(self, mode: bool = True) -> "ProposalNetwork":
        """Training mode for all but the trunk."""
        super().train(mode)
        self.backbone.eval()
        return self

    def losses(self, image: Tensor, objects: Sequence[Tensor]) -> dict[str, Tensor]:
        """What 256 anchors of each picture cost, in training mode.

        Args:
            image: ``(B, 3, H, W)`` normalised.
            objects: Of each picture ``(n, 4)`` x1, y1, x2, y2 in pixels; n may be 0.

        Returns:
            ``objectness``, the cross-entropy of object or not, and ``boxes``, the smooth L1 of what is to be moved.
        """
        _, losses = self._propose(image, [{"boxes": boxes} for boxes in objects])
        return {"objectness": losses["loss_objectness"], "boxes": losses["loss_rpn_box_reg"]}

    def forward(self, image: Tensor) -> Tensor:
        """The best boxes after suppressing overlaps over 0.7, in evaluation mode.

        Args:
            image: ``(B, 3, H, W)`` normalised.

        Returns:
            ``(B, count, 4)`` float32 x1, y1, x2, y2 in pixels inside the picture, the best first. Of a picture with
            fewer, which only small ones are, they come again from the first on: no least distance changes by that.
        """
        boxes, _ = self._propose(image)
        return torch.stack([found[torch.arange(self.count, device=found.device) % len(found)] for found in boxes])

    def _propose(
        self, image: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        height, width = image.shape[-2:]
        stride = self.backbone.stride(self.tap)
        # torchvision divides pixels by cells to find the stride: they must divide evenly, or anchors drift.
        padded = F.pad(image, (0, -width % stride, 0, -height % stride))
        with torch.no_grad():
            cells = self.backbone(padded)[self.tap]
        # Boxes want float32, whatever the trunk computes in.
        with torch.autocast(image.device.type, enabled=False):
            found: tuple[list[Tensor], dict[str, Tensor]] = self.rpn(
                ImageList(padded, [(height, width)] * len(image)), {"map": cells.float()}, targets
            )
        return found


def _head(channels: int, anchors: int) -> RPNHead:
    """The paper's head, 512 channels wide on any trunk; that of torchvision is as wide as the map."""
    head = RPNHead(512, anchors)
    convolution = nn.Conv2d(channels, 512, 3, padding=1)
    nn.init.normal_(convolution.weight, std=0.01)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    head.conv = nn.Sequential(convolution, nn.ReLU())
    return head
