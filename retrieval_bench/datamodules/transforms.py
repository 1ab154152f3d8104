"""From a decoded picture to the network's window of it; all in uint8, boxes carried along."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import MaxSide, MinSide, Preprocessing, Resize

Box = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """The part of a resized picture that the network sees, in pixels.

    Attributes:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
        flip: Whether it is mirrored left to right.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool = False

    def cut(self, image: Tensor) -> Tensor:
        """The window of ``(3, H, W)`` pixels: ``(3, height, width)``."""
        part = image[:, self.top : self.top + self.height, self.left : self.left + self.width]
        return part.flip(-1) if self.flip else part

    def move(self, box: Box) -> Box:
        """Carry a box x1, y1, x2, y2 of the resized picture into the window, cut off at its edges."""
        x1, y1, x2, y2 = np.asarray(box, np.float64) - (self.left, self.top, self.left, self.top)
        if self.flip:
            x1, x2 = self.width - x2, self.width - x1
        edges = (self.width, self.height, self.width, self.height)
        return np.asarray(np.clip((x1, y1, x2, y2), 0, edges), np.float32)


def check_recipe(preprocessing: Preprocessing) -> None:
    """Refuse a recipe that no picture could follow.

    Raises:
        OptionError: If the crop is larger than the resized picture, or that is a line.
    """
    resize, crop = preprocessing.resize, preprocessing.crop
    rule = isinstance(resize, MaxSide | MinSide)
    side = resize.side if isinstance(resize, MaxSide | MinSide) else resize if isinstance(resize, int) else min(resize)
    if side < 2:  # torch's kernel gives wrong values for pictures one pixel wide
        raise OptionError(f"pictures cannot be resized to {resize}: each side needs at least 2 pixels")
    if crop is not None and rule:
        raise OptionError(f"a square of {crop} pixels cannot be cut from pictures resized by {resize}: leave crop out")
    if crop is not None and not 1 <= crop <= side:
        raise OptionError(
            f"a crop of {crop} pixels cannot be cut from pictures resized to {resize}: "
            "the method's preprocessing needs a crop of at most the shorter side"
        )


def centre_window(height: int, width: int, preprocessing: Preprocessing) -> Window:
    """The window of evaluation: the centre crop, or the whole picture."""
    crop = preprocessing.crop
    if crop is None:
        return Window(0, 0, height, width)
    # Where the two margins cannot be equal torchvision rounds half to even; so do we, for the same pixels.
    return Window(round((height - crop) / 2), round((width - crop) / 2), crop, crop)


def random_window(height: int, width: int, preprocessing: Preprocessing, seed: int) -> Window:
    """The window of training: a random crop, mirrored with the recipe's probability.

    Args:
        height: Rows of the resized picture.
        width: Columns of it.
        preprocessing: Crop and probability of a flip.
        seed: All chance there is: the same seed gives the same window in any process.
    """
    chance = torch.Generator().manual_seed(seed)
    flip = torch.rand((), generator=chance).item() < preprocessing.flip
    crop = preprocessing.crop
    if crop is None:
        return Window(0, 0, height, width, flip)
    top = int(torch.randint(height - crop + 1, (), generator=chance))
    left = int(torch.randint(width - crop + 1, (), generator=chance))
    return Window(top, left, crop, crop, flip)


def resized_size(height: int, width: int, resize: Resize) -> tuple[int, int]:
    """Height and width of a picture after resizing; an int is the length of the shorter side, as in torchvision."""
    if isinstance(resize, tuple):
        return resize
    if isinstance(resize, MaxSide | MinSide):
        return resize.size(height, width)
    if height <= width:
        return resize, max(resize, int(resize * width / height))
    return max(resize, int(resize * height / width)), resize


def resize_image(image: Tensor, resize: Resize) -> Tensor:
    """Resize by bilinear interpolation with antialiasing, as PIL does up to one grey level.

    Args:
        image: ``(3, H, W)`` uint8.
        resize: See ``Preprocessing``.

    Returns:
        ``(3, h, w)`` uint8, channels last in memory.
    """
    from torchvision.transforms.v2 import functional as F

    size = resized_size(image.shape[1], image.shape[2], resize)
    # The vectorised kernel reads channels-last pixels; others it would first copy, three times slower in all.
    image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    resized: Tensor = F.resize(image, list(size), antialias=True)
    return resized.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def scale_box(box: Box, from_size: tuple[int, int], to_size: tuple[int, int]) -> Box:
    """Carry a box x1, y1, x2, y2 from a picture of one (height, width) to the same picture at another."""
    y, x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return (np.asarray(box, np.float64) * (x, y, x, y)).astype(np.float32)


def box_window(height: int, width: int, box: Box) -> Window:
    """The window of all pixels that a box x1, y1, x2, y2 touches: at least one, none outside the picture."""
    left = min(max(math.floor(box[0]), 0), width - 1)
    top = min(max(math.floor(box[1]), 0), height - 1)
    right, bottom = math.ceil(min(box[2], width)), math.ceil(min(box[3], height))
    return Window(top, left, max(bottom - top, 1), max(right - left, 1))


def crop_image(image: Tensor, box: Box) -> Tensor:
    """Cut ``(3, H, W)`` pixels to those that a box x1, y1, x2, y2 touches: at least one, none outside the picture."""
    return box_window(image.shape[1], image.shape[2], box).cut(image)


def evaluation_picture(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize a decoded picture and cut its centre, as in evaluation.

    Args:
        image: ``(3, H, W)`` uint8.
        preprocessing: The recipe of the method.

    Returns:
        ``(3, h, w)`` uint8.
    """
    check_recipe(preprocessing)
    resized = resize_image(image, preprocessing.resize)
    return centre_window(resized.shape[1], resized.shape[2], preprocessing).cut(resized)
