"""What a network expects to see: how pictures are resized, cropped, flipped and normalised."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

WeightsFamily = Literal["torchvision", "caffe"]


@dataclass(frozen=True)
class MaxSide:
    """Keep the aspect and bring the longer side to a length (siaMAC: 1024; DIR: 800, small pictures too).

    Attributes:
        side: The longer side in pixels.
        upscale: Whether smaller pictures are enlarged.
    """

    side: int
    upscale: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing."""
        return _scaled(height, width, self.side, max(height, width), enlarge=self.upscale)


@dataclass(frozen=True)
class MinSide:
    """Keep the aspect and bring the shorter side to a length, the longer one to no more than another (Faster R-CNN).

    Attributes:
        side: The shorter side in pixels.
        longest: The most that the longer side may have.
    """

    side: int
    longest: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing."""
        short, long = min(height, width), max(height, width)
        if long * self.side > short * self.longest:
            return _scaled(height, width, self.longest, long)
        return _scaled(height, width, self.side, short)


def _scaled(height: int, width: int, wanted: int, given: int, *, enlarge: bool = True) -> tuple[int, int]:
    if given == wanted or (given < wanted and not enlarge):
        return height, width
    # To the nearest whole number, halves upwards; torch's kernel gives wrong values for pictures one pixel wide.
    high, wide = ((2 * side * wanted + given) // (2 * given) for side in (height, width))
    return max(2, high), max(2, wide)


Resize = tuple[int, int] | int | MaxSide | MinSide


@dataclass(frozen=True)
class Preprocessing:
    """The recipe from a decoded picture to the network's input.

    Attributes:
        resize: ``(height, width)`` in pixels, the aspect is not kept; or one int, the length of the shorter side; or
            the rule ``MaxSide`` or ``MinSide``.
        crop: Side in pixels of the square crop: random in training, centred in evaluation; None for the whole picture.
        flip: Probability of a horizontal flip in training.
        family: Which convention the pixel values follow: ``torchvision`` (RGB in 0..1, mean and standard deviation of
            ImageNet) or ``caffe`` (BGR in 0..255, mean only).
        boxes: A file of saliency boxes: before all else every picture is cropped to its own. None for whole pictures.
        proposals: A file of region proposals, or a folder of such files: batches bring every picture's. None for none.
    """

    resize: Resize
    crop: int | None = None
    flip: float = 0.5
    family: WeightsFamily = "torchvision"
    boxes: Path | None = None
    proposals: Path | None = None


RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
BGR_MEAN = (103.939, 116.779, 123.68)


def normalize(image: Tensor, family: WeightsFamily) -> Tensor:
    """Turn pixels into the values that a family of weights was trained on.

    Args:
        image: ``(B, 3, H, W)`` or ``(3, H, W)`` uint8, RGB.
        family: See ``Preprocessing``.

    Returns:
        float32 of the same shape, on the same device.
    """
    if family == "caffe":
        mean = torch.tensor(BGR_MEAN, device=image.device).view(3, 1, 1)
        return image.flip(-3).float() - mean
    mean = torch.tensor(RGB_MEAN, device=image.device).view(3, 1, 1)
    std = torch.tensor(RGB_STD, device=image.device).view(3, 1, 1)
    return (image.float() / 255 - mean) / std


def denormalize(image: Tensor, family: WeightsFamily) -> Tensor:
    """Turn the values that a family of weights sees back into colours.

    Args:
        image: ``(B, 3, H, W)`` or ``(3, H, W)`` as ``normalize`` makes it.
        family: See ``Preprocessing``.

    Returns:
        float32 of the same shape: RGB from 0 to 255.
    """
    if family == "caffe":
        return (image.float() + torch.tensor(BGR_MEAN, device=image.device).view(3, 1, 1)).flip(-3)
    mean = torch.tensor(RGB_MEAN, device=image.device).view(3, 1, 1)
    std = torch.tensor(RGB_STD, device=image.device).view(3, 1, 1)
    return (image.float() * std + mean) * 255
