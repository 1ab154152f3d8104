"""What methods share that learn statistics instead of weights: a given trunk, vectors of regions, whitening, a sum."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.nn.functional import normalize

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.base import Batch, RetrievalMethod
from retrieval_bench.methods.gathering import of_all_processes
from retrieval_bench.nn.backbones import Backbone, Tap
from retrieval_bench.nn.preprocessing import MaxSide, Preprocessing, WeightsFamily
from retrieval_bench.nn.projections import load_projection
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.whitening import Moments, PCAWhitening


class RegionVectors(NamedTuple):
    """What regions of maps look like.

    Attributes:
        vectors: ``(B, R, C)``.
        present: ``(B, R)`` whether there is such a region in a map; None if all are there.
    """

    vectors: Tensor
    present: Tensor | None = None


class FittedMethod(RetrievalMethod):
    """A trunk that is not trained; vectors of regions of its map are whitened and summed (R-MAC's pipeline).

    Each region's vector is l2-normalised, whitened and normalised again; their sum is normalised. The whitening is
    learned from the l2-normalised vectors of all regions of the datamodule's reference pictures. Until it is, or
    where ``whiten`` is false, vectors are summed as they are.

    Args:
        backbone: The trunk.
        weights: ``imagenet``, ``none``, or the path of a state dict.
        weights_family: ``torchvision`` or ``caffe``, in whose convention the weights see pictures.
        tap: Which of the trunk's maps.
        max_side: The longer side in pixels of pictures, which keep their aspect.
        upscale: Whether smaller pictures are enlarged to it.
        square: Side in pixels of the squares that pictures become instead, whatever their aspect.
        whiten: Whether regions are whitened.
        projection: The file of a published projection of regions that takes the place of a whitening learned here, see
            ``load_projection``.

    Raises:
        OptionError: If a projection is given and nothing is to be whitened, or it does not fit.

    Attributes:
        learned_from: What the statistics were learned from, in words; empty if nothing was learned.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        backbone: str = "vgg16",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        tap: Tap = "last",
        max_side: int = 1024,
        upscale: bool = False,
        square: int | None = None,
        whiten: bool = True,
        projection: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        resize = MaxSide(max_side, upscale) if square is None else (square, square)
        self.preprocessing = Preprocessing(resize, flip=0, family=weights_family)
        # Nobody trains the trunk; its gradients are not switched off, for DDP takes no module that has none.
        self.backbone = Backbone(backbone, [tap], weights=weights, family=weights_family)
        self.tap: Tap = tap
        self.channels = self.backbone.channels(tap)
        self.whitening = PCAWhitening(self.channels) if whiten else None
        self.learned_from = ""
        self.projection = projection
        if projection is not None:
            if self.whitening is None:
                raise OptionError("projection would whiten regions, and whiten is false: leave one of them out")
            self.whitening.set_affine(*load_projection(Path(projection)))
        self.eval()

    @abstractmethod
    def region_vectors(self, maps: Tensor, colours: Tensor | None) -> RegionVectors:
        """Describe the regions of maps.

        Args:
            maps: ``(B, C, H, W)`` float32.
            colours: ``(B, 3, H, W)`` what ``colours`` gives for them.
        """

    def colours(self, image: Tensor, size: tuple[int, int]) -> Tensor | None:
        """The colours of a map's cells ``(B, 3, H, W)``, for methods that look at them."""
        del image, size
        return None

    @property
    def fitted(self) -> bool:
        """Whether all statistics were learned or loaded."""
        return self.whitening is None or bool(self.whitening.fitted)

    def describe(self, maps: Tensor, colours: Tensor | None = None) -> Tensor:
        """Unit descriptors ``(B, D)`` of maps ``(B, C, H, W)``."""
        return self.aggregate(self.region_vectors(maps, colours))

    def aggregate(self, regions: RegionVectors) -> Tensor:
        """One unit vector ``(B, D)`` for the regions of each map."""
        vectors = normalize(regions.vectors, dim=-1, eps=1e-12)
        if self.whitening is not None and self.whitening.fitted:
            vectors = self.whitening(vectors)
        if regions.present is not None:
            vectors = vectors * regions.present[..., None]
        return normalize(vectors.sum(1), dim=-1, eps=1e-12)

    def maps(self, batch: Batch) -> Tensor:
        """The maps ``(B, C, H, W)`` that regions are taken from; cells outside of a picture's window are zero."""
        maps = self._trunk_maps(batch["image"])
        if "window" not in batch:
            return maps
        x, y = (torch.arange(n, device=maps.device) for n in (maps.shape[3], maps.shape[2]))
        x1, y1, x2, y2 = self._cells(batch, maps).unbind(1)
        across = (x >= x1[:, None]) & (x < x2[:, None])
        down = (y >= y1[:, None]) & (y < y2[:, None])
        return maps * (down[:, None, :, None] & across[:, None, None, :])

    def describe_windows(self, maps: Tensor, windows: Tensor, image: Tensor | None = None) -> Tensor:
        """Descriptors of parts of one map, each as if it were a map of its own.

        Args:
            maps: ``(C, H, W)`` of one picture.
            windows: ``(n, 4)`` int64 x1, y1, x2, y2 in cells, the ends exclusive; at least one.
            image: ``(3, h, w)`` the picture as the network saw it, for methods that look at colours.

        Returns:
            ``(n, D)``.
        """
        del image
        return torch.cat([self.describe(cut_window(maps[None], window)) for window in windows.tolist()])

    def embed(self, batch: Batch) -> Descriptors:
        """One unit vector a picture, or its window, compared by cosine."""
        maps = self._trunk_maps(batch["image"])
        with torch.autocast(maps.device.type, enabled=False):
            colours = self.colours(batch["image"], (maps.shape[2], maps.shape[3]))
            data = maps.new_empty(len(maps), self.channels)
            for rows, window in self._views(batch, maps):
                part = None if colours is None else cut_window(colours[rows], window)
                data[rows] = self.describe(cut_window(maps[rows], window), part)
        return Descriptors(data, batch["index"], metric="dot")

    def _trunk_maps(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            maps: Tensor = self.backbone(image)[self.tap]
        return maps.float()

    def _views(self, batch: Batch, maps: Tensor) -> Iterator[tuple[Tensor | slice, list[int]]]:
        """Which maps of a batch have which window, in cells."""
        if "window" not in batch:
            yield slice(None), [0, 0, maps.shape[3], maps.shape[2]]
            return
        windows, which = torch.unique(self._cells(batch, maps), dim=0, return_inverse=True)
        for i, window in enumerate(windows.tolist()):
            yield (which == i).nonzero()[:, 0], window

    def _cells(self, batch: Batch, maps: Tensor) -> Tensor:
        """``(B, 4)`` the cells that each picture's window touches, the ends exclusive; at least one cell."""
        window = batch["window"] / self.backbone.points[self.tap].stride
        size = torch.tensor([maps.shape[3], maps.shape[2]], device=window.device)
        first = window[:, :2].floor().clamp(min=0).minimum(size - 1)
        end = window[:, 2:].ceil().minimum(size).maximum(first + 1)
        return torch.cat([first, end], 1).long()

    def fit_statistics(self) -> None:
        """Learn the whitening from the regions of the reference pictures."""
        if self.whitening is not None and self.projection is None:
            self.whitening.fit(self.reference_moments("whitening", self._unit_regions))

    def _unit_regions(self, batch: Batch, maps: Tensor) -> Tensor:
        colours = self.colours(batch["image"], (maps.shape[2], maps.shape[3]))
        regions = self.region_vectors(maps, colours)
        vectors = regions.vectors.flatten(0, 1) if regions.present is None else regions.vectors[regions.present]
        return normalize(vectors, dim=-1, eps=1e-12)

    def reference_view(self, batch: Batch) -> Batch:
        """Reference pictures as statistics are learned from them; as in evaluation, if a method says nothing else."""
        return batch

    def reference_moments(self, statistic: str, vectors: Callable[[Batch, Tensor], Tensor]) -> Moments:
        """Moments over the reference pictures of all processes, the same on each.

        Args:
            statistic: What they are for, in words.
            vectors: Makes ``(n, C)`` of a batch and its maps.

        Raises:
            OptionError: If there is nothing to learn from.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        self.learned_from = data.reference_name
        rank_zero_info(f"learning {statistic} from {self.learned_from}")
        moments = Moments(self.channels)
        for batch in data.reference_dataloader():
            seen = self.reference_view(data.prepared(batch, self.device))
            moments.add(vectors(seen, self._trunk_maps(seen["image"])))
        moments = Moments.join(of_all_processes(moments))
        if not moments.count:
            raise OptionError(f"{type(self).__name__} has nothing to learn its {statistic} from: {self.learned_from}")
        return moments

    def on_fit_start(self) -> None:
        """Fit the statistics; then there is nothing to train, whatever the trainer's epochs and steps are."""
        super().on_fit_start()
        self.trainer.limit_train_batches = 0

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Never called; Lightning fits nothing without one."""

    def configure_optimizers(self) -> list[Any]:
        """None."""
        return []

    def train(self, mode: bool = True) -> "FittedMethod":
        """Stay in evaluation mode: nothing is trained."""
        del mode
        super().train(False)
        return self

    def on_test_start(self) -> None:
        """Refuse to test what was not fitted."""
        self._check_fitted()

    def on_predict_start(self) -> None:
        """Refuse to write descriptors of what was not fitted."""
        self._check_fitted()

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise OptionError(
                f"{type(self).__name__} has not learned its statistics yet: run benchmark or fit first, "
                "or give the checkpoint of such a run as --ckpt_path"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned from beside what was learned."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["learned_from"] = self.learned_from

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self.learned_from = checkpoint["learned_from"]


def cut_window(maps: Tensor, window: Sequence[int]) -> Tensor:
    """The cells x1, y1, x2, y2, the ends exclusive, of maps ``(..., H, W)``."""
    x1, y1, x2, y2 = window
    return maps[..., y1:y2, x1:x2]
