"""From a method and pictures to what it attends to in them: maps of blocks, or what its regions weigh."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retrieval_bench.datamodules.transforms import centre_window, resize_image
from retrieval_bench.datasets.images import load_image
from retrieval_bench.methods import RegionalAttention, RetrievalMethod
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.pictures.attention import attention_sheet
from retrieval_bench.pictures.regions import Box, WeighedPicture, region_sheet

if TYPE_CHECKING:
    from PIL import Image


def attention_drawn(method: RetrievalMethod, files: Sequence[Path]) -> dict[str, "Image.Image"]:
    """A sheet of what a method attends to, by its name; none for a method without attention.

    Args:
        method: In evaluation mode.
        files: The pictures.
    """
    if isinstance(method, RegionalAttention):
        return {"regions": region_sheet(weighed(method, files))}
    # By what it can do and not by its name: a method that is added and has maps of attention is drawn, too.
    if getattr(method, "taps", None) and hasattr(method, "attention_maps"):
        return {"attention": _attention(method, files)}
    return {}


def _attention(method: Any, files: Sequence[Path]) -> "Image.Image":
    resized = [resize_image(load_image(path), method.preprocessing.resize) for path in files]
    pictures = torch.stack([centre_window(x.shape[1], x.shape[2], method.preprocessing).cut(x) for x in resized])
    with torch.inference_mode():
        maps = method.attention_maps(normalize(pictures.to(method.device), method.preprocessing.family))
    return attention_sheet(
        [x.permute(1, 2, 0).numpy() for x in pictures], {title: list(x.cpu().numpy()) for title, x in maps.items()}
    )


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
            maps = method.maps({"image": normalize(picture[None].to(method.device), method.preprocessing.family)})
            regions = method.grid((maps.shape[2], maps.shape[3]), (height, width))
            weights = method.weights(maps, regions)[0].double().cpu().numpy()
        boxes: list[Box] = [
            (r.x * stride, r.y * stride, min((r.x + r.width) * stride, width), min((r.y + r.height) * stride, height))
            for r in regions
        ]
        pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        rows.append(WeighedPicture(pixels, boxes, weights))
    return rows
