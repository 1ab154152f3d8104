"""From a checkpoint of regional attention to the regions that are drawn, and what they weigh."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.images import load_image
from retrieval_bench.methods import RegionalAttention
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.pictures.regions import Box, WeighedPicture


def weighed(method: RegionalAttention, files: Sequence[Path]) -> list[WeighedPicture]:
    """Pictures as the method sees them, with its regions and their weights.

    Args:
        method: In evaluation mode.
        files: The pictures.
    """
    stride = method.backbone.stride(method.tap)
    rows = []
    for file in files:
        picture = resize_image(load_image(file), method.preprocessing.resize)
        height, width = picture.shape[1:]
        with torch.inference_mode():
            maps = method.maps({"image": normalize(picture[None], method.preprocessing.family)})
            regions = method.grid((maps.shape[2], maps.shape[3]), (height, width))
            weights = method.weights(maps, regions)[0].double().numpy()
        boxes: list[Box] = [
            (r.x * stride, r.y * stride, min((r.x + r.width) * stride, width), min((r.y + r.height) * stride, height))
            for r in regions
        ]
        pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        rows.append(WeighedPicture(pixels, boxes, weights))
    return rows
