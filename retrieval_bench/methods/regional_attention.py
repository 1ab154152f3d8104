"""Regional attention: Regional Attention Based Deep Feature for Image Retrieval.

Kim, Yoon; BMVC 2018. What the paper's text does not say is read off the authors' code, Retrieval-RegionalAttention.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_bench.methods.base import Batch
from retrieval_bench.methods.fitted import FittedMethod, RegionVectors, cut_window
from retrieval_bench.nn.regional_attention import (
    AttentionInput,
    GridSpace,
    HiddenAct,
    RegionAttention,
    attended_regions,
    load_attention,
)
from retrieval_bench.nn.regions import Region, max_regions
from retrieval_bench.retrieval.descriptors import Descriptors

# The authors skip pictures of 800 pixels with a side below 200.
_LEAST_ASPECT = 200 / 800


class RegionalAttention(FittedMethod):
    """R-MAC whose regions count as much as a small network says that has seen each of them and the whole picture.

    Each region's maxima are whitened, not normalised before, and brought to unit length; their mean, weighted by the
    attention, is brought to unit length again. The attention is trained by ``RegionalAttentionTraining``, a run of its
    own on a data set with classes; here its result is read, and the whitening alone is learned. The authors learn that
    from Landmarks (Babenko et al., 2014), which is gone; here, as with R-MAC, from the datamodule's reference pictures.

    Args:
        attention: The checkpoint of a training, in whose path ``{seed}`` becomes the seed of the run, or the authors'
            file; ``none`` for random weights.
        attend: Whether the attention counts; else all regions do alike, which is R-MAC.
        levels: How many sizes of regions; 5 in the authors' code.
        fit_levels: How many of them the whitening is learned from; 3 there.
        grid_space: Whether the grid is laid on the ``image``, as there, or on its ``map``.
        sees: What the attention sees, see ``RegionAttention``.
        hidden_act: Its inner function, see there.
        fit_side: The longer side in pixels of the pictures that the whitening is learned from; None for ``max_side``.
        backbone: The trunk; the paper's is ``resnet101``, with weights of Caffe.
        upscale: Whether smaller pictures are enlarged to ``max_side``; they are in the authors' code.
        **options: See ``FittedMethod``.

    Raises:
        OptionError: If an option has none of its values.
        WeightsError: If the attention is not at hand or does not fit.
    """

    def __init__(
        self,
        attention: str = "none",
        attend: bool = True,
        levels: int = 5,
        fit_levels: int = 3,
        grid_space: GridSpace = "image",
        sees: AttentionInput = "both",
        hidden_act: HiddenAct = "tanh",
        fit_side: int | None = 800,
        backbone: str = "resnet101",
        upscale: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(backbone=backbone, upscale=upscale, **options)
        self.attend, self.levels, self.fit_levels, self.grid_space = attend, levels, fit_levels, grid_space
        self.fit_side = fit_side
        for count in (levels, fit_levels):
            self.grid((2, 2), levels=count)  # refuses a wrong grid now
        self.attention = RegionAttention(self.channels, sees=sees, hidden_act=hidden_act)
        self._attention_source = ""
        if attend and attention != "none":
            file = Path(attention.replace("{seed}", os.environ.get("PL_GLOBAL_SEED", "0")))
            self._attention_source = load_attention(self.attention, file)
        self.eval()

    def grid(
        self, cells: tuple[int, int], picture: tuple[int, int] | None = None, levels: int | None = None
    ) -> tuple[Region, ...]:
        """The regions of a map.

        Args:
            cells: Its height and width.
            picture: Height and width in pixels of the picture; by default as if whole cells had been cut out.
            levels: How many sizes; by default those of descriptors.
        """
        stride = self.backbone.stride(self.tap)
        pixels = (cells[0] * stride, cells[1] * stride) if picture is None else picture
        return attended_regions(pixels, cells, stride, self.levels if levels is None else levels, self.grid_space)

    def weights(self, maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
        """How much each region counts, ``(B, R)``, all greater than 0."""
        if not self.attend:
            return maps.new_ones(len(maps), len(regions))
        weights: Tensor = self.attention(maps, regions)
        return weights

    def region_vectors(self, maps: Tensor, colours: Tensor | None) -> RegionVectors:
        """The maxima of the grid's squares."""
        del colours
        return RegionVectors(max_regions(maps, self.grid(_size(maps))))

    def describe(self, maps: Tensor, colours: Tensor | None = None, picture: tuple[int, int] | None = None) -> Tensor:
        """Unit descriptors ``(B, D)`` of maps ``(B, C, H, W)`` of pictures, or of whole cells cut out of them."""
        del colours
        regions = self.grid(_size(maps), picture)
        return self.weighted(max_regions(maps, regions), self.weights(maps, regions))

    def weighted(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """Unit descriptors ``(B, D)`` of the maxima ``(B, R, C)`` of regions and their weights ``(B, R)``."""
        white = self.whitening is not None and self.whitening.fitted
        units = self.whitening(vectors) if white and self.whitening is not None else F.normalize(vectors, dim=-1)
        return F.normalize((weights[..., None] * units).mean(1), dim=-1, eps=1e-12)

    def embed(self, batch: Batch) -> Descriptors:
        """One unit vector a picture, or its window, compared by cosine."""
        maps = self._trunk_maps(batch["image"])
        with torch.autocast(maps.device.type, enabled=False), torch.no_grad():
            data = maps.new_empty(len(maps), self.channels)
            for rows, window in self._views(batch, maps):
                part = cut_window(maps[rows], window)
                data[rows] = self.describe(part, picture=_size(batch["image"]) if "window" not in batch else None)
        return Descriptors(data, batch["index"], metric="dot")

    # ---- the whitening

    def fit_statistics(self) -> None:
        """Learn the whitening from the maxima of the reference pictures' regions, as they are."""
        if self.whitening is not None and self.projection is None:
            self.whitening.fit(self.reference_moments("whitening", self._reference_regions))
        if self._attention_source:
            self.learned_from = f"{self.learned_from or 'nothing'}; attention learned from {self._attention_source}"

    def reference_view(self, batch: Batch) -> Batch:
        """The pictures at the size that the whitening is learned at."""
        height, width = _size(batch["image"])
        if self.fit_side is None or self.fit_side == max(height, width):
            return batch
        scale = self.fit_side / max(height, width)
        size = (max(2, round(height * scale)), max(2, round(width * scale)))
        return {**batch, "image": F.interpolate(batch["image"], size, mode="bilinear", antialias=True)}

    def _reference_regions(self, batch: Batch, maps: Tensor) -> Tensor:
        picture = _size(batch["image"])
        if min(picture) < _LEAST_ASPECT * max(picture):
            return maps.new_empty(0, self.channels)
        return max_regions(maps, self.grid(_size(maps), picture, self.fit_levels)).flatten(0, 1)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
