"""Attention drawn over pictures, as in Figure 2 of the ABIR paper."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval_bench.pictures.sheet import draw_sheet, fitted

Pixels = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.floating]

# Matplotlib's "inferno" at nine places: dark to bright in even steps, also in print and to colour-blind eyes.
_INFERNO = np.array(
    [
        (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85),
        (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164),
    ],
    np.float64,
)  # fmt: skip
_LEAST_SIDE = 224


def heat(weights: Weights) -> Pixels:
    """Colours of weights in [0, 1]: ``(H, W)`` to ``(H, W, 3)``."""
    place = np.clip(weights, 0, 1).astype(np.float64) * (len(_INFERNO) - 1)
    low = np.minimum(place.astype(np.int64), len(_INFERNO) - 2)
    share = (place - low)[..., None]
    colours: Pixels = (_INFERNO[low] * (1 - share) + _INFERNO[low + 1] * share).round().astype(np.uint8)
    return colours


def overlay(picture: Pixels, weights: Weights, opacity: float = 0.6) -> Pixels:
    """A picture under its attention, stretched over the attention's own range so that its shape is seen.

    Args:
        picture: ``(H, W, 3)`` uint8, RGB.
        weights: ``(H, W)``; a constant map is drawn as all dark.
        opacity: Of the colours, 0 to 1.

    Raises:
        ValueError: If the sizes differ.
    """
    if picture.shape[:2] != weights.shape:
        raise ValueError(f"the attention is {weights.shape}, the picture {picture.shape[:2]}")
    spread = float(np.ptp(weights))
    stretched = (weights - weights.min()) / spread if spread > 0 else np.zeros_like(weights)
    grey = picture.astype(np.float64).mean(2, keepdims=True)
    mixed: Pixels = (heat(stretched) * opacity + grey * (1 - opacity)).round().astype(np.uint8)
    return mixed


def attention_sheet(pictures: Sequence[Pixels], maps: Mapping[str, Sequence[Weights]]) -> Image.Image:
    """One row a picture: the picture, then its attention in every block with the range of its weights.

    Args:
        pictures: Each ``(H, W, 3)`` uint8, all of one size; small ones are drawn larger by a whole factor.
        maps: For each block, by its title, one ``(H, W)`` map a picture.

    Raises:
        ValueError: If there is no picture, or a block does not have one map a picture.
    """
    if not pictures or any(len(of_block) != len(pictures) for of_block in maps.values()):
        raise ValueError("an attention sheet needs at least one picture, and one map of every block for each")
    height, width = pictures[0].shape[:2]
    factor = -(-_LEAST_SIDE // min(height, width))
    rows = []
    for row, picture in enumerate(pictures):
        cells = [(picture, "")]
        for of_block in maps.values():
            weights = of_block[row]
            cells.append((overlay(picture, weights), f"{weights.min():.2f} to {weights.max():.2f}"))
        rows.append([(fitted(pixels, factor * max(height, width)), caption) for pixels, caption in cells])
    return draw_sheet(("picture", *maps), rows, width=factor * width)
