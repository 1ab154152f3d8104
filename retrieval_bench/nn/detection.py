"""What a detector has on top of its trunk: Fast R-CNN, Girshick, ICCV 2015."""

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_pool

_BINS = 7  # a side, of what a region is pooled to
_WIDTH = 1024  # of the two hidden layers


def detection_heads(channels: int, stride: int, classes: int) -> RoIHeads:
    """The heads that say of each region what it shows and how its box is to be moved, and their losses in training.

    Of a picture's regions and its objects' own boxes 128 are drawn, at most a quarter of them with an IoU of at least
    0.5 with an object: they have its class, all others are background, class 0 (section 2.3, with Faster R-CNN's
    background from an IoU of 0 on).

    Args:
        channels: Of the trunk's map.
        stride: Pixels between neighbouring cells of it.
        classes: How many kinds of objects there are.
    """
    heads = RoIHeads(
        _RegionPooling(stride),
        TwoMLPHead(channels * _BINS**2, _WIDTH),
        FastRCNNPredictor(_WIDTH, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=128,
        positive_fraction=0.25,
        bbox_reg_weights=None,  # torchvision's, which are those of Fast R-CNN's public code
        # Nobody asks it for detections.
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
    )
    for layer, deviation in ((heads.box_predictor.cls_score, 0.01), (heads.box_predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=deviation)  # section 2.3
        nn.init.zeros_(layer.bias)
    return heads


class _RegionPooling(nn.Module):
    """RoI max-pooling to 7x7 bins, as torchvision's heads call it.

    Args:
        stride: Pixels between neighbouring cells of the map.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """``(n, C, 7, 7)`` of the boxes of all pictures."""
        del shapes
        pooled: Tensor = roi_pool(maps["map"], boxes, output_size=_BINS, spatial_scale=1 / self.stride)
        return pooled
