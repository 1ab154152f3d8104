"""Where a frozen ImageNet network responds most: grey maps and the box around what is bright in them."""

from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.backbones import TAPS, Backbone
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.nn.weights import WeightsError, load_state_dict

Merge = Literal["mean", "max", "sum"]
Component = Literal["all", "largest"]
# x1, y1, x2, y2 in whole pixels; it ends before x2 and y2.
PixelBox = tuple[int, int, int, int]

# The module whose output is taken. The first two give 8x8 maps of pictures of 299x299, as the paper's network does.
LAYERS = {
    "inception_v3": "Mixed_7c",
    "inception_resnet_v2": "conv2d_7b",
    **{name: taps["last"].module for name, taps in TAPS.items()},
}


class SaliencyNetwork(nn.Module):
    """A frozen network up to its last map.

    Args:
        name: A network of ``LAYERS``; ``inception_resnet_v2`` needs the package timm.
        weights: ``imagenet`` (the published file), ``none`` (random, always the same), or the path of a state dict.

    Attributes:
        name: The network.
        weights: ``imagenet``, ``none`` or the name of the file.
        layer: The module whose output is taken.

    Raises:
        OptionError: If the network is not known, or timm is missing.
        WeightsError: If the weights are not at hand or do not fit.
    """

    def __init__(self, name: str, weights: str = "imagenet") -> None:
        super().__init__()
        if name not in LAYERS:
            raise OptionError(f"unknown network {name!r}; known are {', '.join(LAYERS)}")
        self.name, self.weights, self.layer = name, Path(weights).name, LAYERS[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.trunk: nn.Module = _build(name, weights)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Maps of pictures.

        Args:
            image: ``(B, 3, H, W)`` uint8, RGB.

        Returns:
            ``(B, C, h, w)`` float32.
        """
        maps: Tensor
        if self.name in TAPS:
            maps = self.trunk(normalize(image, "torchvision"))["last"]
        else:  # both Inceptions were trained on -1 to 1
            maps = self.trunk((image.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last))["map"]
        return maps


def _build(name: str, weights: str) -> nn.Module:
    if name in TAPS:
        return Backbone(name, ["last"], weights=weights)
    if name == "inception_resnet_v2":
        network = _inception_resnet_v2(pretrained=weights == "imagenet")
    else:
        network = models.get_model(name, weights=None, init_weights=True)
    if weights != "none" and not (name == "inception_resnet_v2" and weights == "imagenet"):
        # Only the classifier may be missing, which lies behind the map.
        network.load_state_dict(load_state_dict(name, weights, "torchvision", like=network), strict=False)
    extractor: nn.Module = create_feature_extractor(network.eval(), {LAYERS[name]: "map"}, suppress_diff_warning=True)
    return extractor


def _inception_resnet_v2(*, pretrained: bool) -> nn.Module:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise OptionError(
            "inception_resnet_v2 comes from the package timm, which is not installed: `pip install timm`, "
            "or choose inception_v3"
        ) from error
    try:
        network: nn.Module = timm.create_model("inception_resnet_v2", pretrained=pretrained)
    except Exception as error:  # timm passes on whatever its download libraries raise
        raise WeightsError(
            f"timm could not fetch the weights of inception_resnet_v2 ({error}); give the path of a state dict, "
            "or 'none'"
        ) from error
    return network


def grey_map(maps: Tensor, merge: Merge = "mean") -> Tensor:
    """Merge channels and stretch each picture's values over 0 to 255, after the adaptive triplet paper.

    It does not say how channels are merged. A sum gives the mean's map, but for rounding.

    Args:
        maps: ``(B, C, h, w)``.
        merge: Mean, maximum or sum over channels.

    Returns:
        ``(B, h, w)`` float64 on the CPU; zeros where a map is constant.
    """
    merged = (maps.amax(1) if merge == "max" else getattr(maps, merge)(1)).double().cpu()
    low = merged.amin((1, 2), keepdim=True)
    spread = merged.amax((1, 2), keepdim=True) - low
    return torch.where(spread > 0, (merged - low) / spread * 255, 0.0)


def enlarge(grey: Tensor, side: int) -> Tensor:
    """The grey picture of one map.

    Args:
        grey: ``(h, w)`` float64 in 0 to 255.
        side: Of the square picture that the network saw, in pixels.

    Returns:
        ``(side, side)`` uint8. Whole levels, so that the last bit of a float moves no box.
    """
    # One map at a time: the order of additions must not depend on who shares a batch.
    picture = F.interpolate(grey[None, None], (side, side), mode="bilinear", align_corners=False)
    return picture[0, 0].round().to(torch.uint8)


def salient_box(grey: Tensor, alpha: float, component: Component = "all") -> PixelBox | None:
    """The box around all pixels brighter than a share of white.

    Args:
        grey: ``(side, side)`` uint8.
        alpha: The share: pixels over ``255 * alpha`` are kept (the paper: 0.4).
        component: All kept pixels, or those of the largest 4-connected component, of equals the first by rows.

    Returns:
        The box in pixels of the grey picture, or None if no pixel is kept.
    """
    kept = (grey > 255 * alpha).numpy()
    if not kept.any():
        return None
    if component == "largest":
        from scipy import ndimage

        labels, _ = ndimage.label(kept)
        kept = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    columns, rows = np.flatnonzero(kept.any(0)), np.flatnonzero(kept.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def picture_box(box: PixelBox | None, side: int, width: int, height: int) -> PixelBox:
    """Carry a box of the square grey picture back to the original picture, to every pixel it touches.

    Args:
        box: A result of ``salient_box``.
        side: Of the grey picture.
        width: Of the original picture.
        height: Of the original picture.

    Returns:
        The box in pixels of the original picture; the whole picture if there is no box or it has less than a tenth of
        the area.
    """
    if box is None or 10 * (box[2] - box[0]) * (box[3] - box[1]) < side * side:
        return 0, 0, width, height
    x1, y1, x2, y2 = box
    return x1 * width // side, y1 * height // side, -(-x2 * width // side), -(-y2 * height // side)
