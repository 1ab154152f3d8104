"""Regions of interest: one vector for each box of a map."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def roi_vectors(maps: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """What boxes look like: the maximum of each channel inside, of unit length (Salvador et al., CVPRW 2016).

    A box's cells are those of RoI max-pooling (Girshick, ICCV 2015): its corners divided by the stride and rounded,
    both included. To pool them to 7x7 before taking the maximum would change nothing: every cell is in some bin.

    Args:
        maps: ``(B, C, H, W)``, nowhere negative.
        boxes: ``(B, R, 4)`` x1, y1, x2, y2 in pixels; what lies outside the picture is left out.
        stride: Pixels between neighbouring cells.

    Returns:
        ``(B, R, C)`` float32; zero where no channel fires.
    """
    from torchvision.ops import roi_pool

    size = torch.tensor([maps.shape[3], maps.shape[2]] * 2, device=maps.device) * stride
    inside = boxes.to(maps.device, torch.float32).clamp(min=0).minimum(size)
    owner = torch.arange(maps.shape[0], device=maps.device, dtype=torch.float32)[:, None, None]
    regions = torch.cat([owner.expand(-1, boxes.shape[1], 1), inside], dim=2).flatten(0, 1)
    pooled = roi_pool(maps.float().contiguous(), regions, output_size=1, spatial_scale=1 / stride)
    return normalize(pooled.view(*boxes.shape[:2], -1), dim=2, eps=1e-12)
