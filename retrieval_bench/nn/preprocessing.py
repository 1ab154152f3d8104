"""What a network expects to see: how pictures are resized, cropped, flipped and normalised."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

WeightsFamily = Literal["torchvision", "caffe"]


@dataclass(frozen=True)
class Preprocessing:
    """The recipe from a decoded picture to the network's input.

    Attributes:
        resize: ``(height, width)`` in pixels, the aspect is not kept; or one int, the length of the shorter side.
        crop: Side in pixels of the square crop: random in training, centred in evaluation; None for the whole picture.
        flip: Probability of a horizontal flip in training.
        family: Which convention the pixel values follow: ``torchvision`` (RGB in 0..1, mean and standard deviation of
            ImageNet) or ``caffe`` (BGR in 0..255, mean only).
    """

    resize: tuple[int, int] | int
    crop: int | None = None
    flip: float = 0.5
    family: WeightsFamily = "torchvision"


_RGB_MEAN = (0.485, 0.456, 0.406)
_RGB_STD = (0.229, 0.224, 0.225)
_BGR_MEAN = (103.939, 116.779, 123.68)


def normalize(image: Tensor, family: WeightsFamily) -> Tensor:
    """Turn pixels into the values that a family of weights was trained on.

    Args:
        image: ``(B, 3, H, W)`` or ``(3, H, W)`` uint8, RGB.
        family: See ``Preprocessing``.

    Returns:
        float32 of the same shape, on the same device.
    """
    if family == "caffe":
        mean = torch.tensor(_BGR_MEAN, device=image.device).view(3, 1, 1)
        return image.flip(-3).float() - mean
    mean = torch.tensor(_RGB_MEAN, device=image.device).view(3, 1, 1)
    std = torch.tensor(_RGB_STD, device=image.device).view(3, 1, 1)
    return (image.float() / 255 - mean) / std
