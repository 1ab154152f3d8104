"""What a method says about images: vectors or packed codes, each row knowing its image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Metric = Literal["dot", "euclidean", "hamming", "adc"]
_TYPES: dict[Metric, tuple[torch.dtype, ...]] = {
    "dot": (torch.float32,),
    "euclidean": (torch.float32,),
    "hamming": (torch.uint8,),
    "adc": (torch.float32, torch.uint8, torch.int16),
}


@dataclass(frozen=True)
class Descriptors:
    """Rows that describe images; several rows may belong to one image.

    Attributes:
        data: ``(n, d)`` float32 vectors, or ``(n, bytes)`` uint8 packed codes when the metric is ``hamming``. When it
            is ``adc``, ``(n, M)`` uint8 or int16 numbers of codewords in the gallery, and ``(n, M * K)`` float32
            distances from all codewords as queries (see ``adc``).
        image: ``(n,)`` int64 row of the sample table each descriptor belongs to.
        metric: How two descriptors are compared: ``dot`` (greater is nearer), or ``euclidean``, ``hamming`` or
            ``adc`` (smaller is nearer).
        boxes: ``(n, 4)`` float32 x1, y1, x2, y2 in pixels of the original image, or None.
        predicted: ``(n,)`` int64 label that the method reads off the image, if it also classifies; else None.
    """

    data: Tensor
    image: Tensor
    metric: Metric = "dot"
    boxes: Tensor | None = None
    predicted: Tensor | None = None

    def __post_init__(self) -> None:
        expected = _TYPES[self.metric]
        if self.data.ndim != 2 or self.data.dtype not in expected:
            raise ValueError(
                f"{self.metric} descriptors must be a 2-d {' or '.join(map(str, expected))} tensor, got "
                f"{self.data.dtype} of shape {tuple(self.data.shape)}"
            )
        if self.image.shape != self.data.shape[:1] or self.image.dtype != torch.int64:
            raise ValueError(f"image must be int64 of shape ({len(self.data)},), got {tuple(self.image.shape)}")
        if self.boxes is not None and self.boxes.shape != (len(self.data), 4):
            raise ValueError(f"boxes must have shape ({len(self.data)}, 4), got {tuple(self.boxes.shape)}")
        if self.predicted is not None and (self.predicted.shape, self.predicted.dtype) != (
            self.image.shape,
            torch.int64,
        ):
            raise ValueError(f"predicted must be int64 of shape ({len(self.data)},), got {tuple(self.predicted.shape)}")

    def __len__(self) -> int:
        return len(self.data)

    def cpu(self) -> "Descriptors":
        """The same descriptors in the host's memory."""
        return self._each(Tensor.cpu)

    def select(self, image: Sequence[int] | np.ndarray | Tensor) -> "Descriptors":
        """The rows of the given images, in the order of the images given.

        Raises:
            KeyError: If an image has no descriptor.
        """
        wanted = torch.as_tensor(np.asarray(image), dtype=torch.int64)
        order = torch.argsort(self.image, stable=True)
        owner = self.image[order].contiguous()
        start = torch.searchsorted(owner, wanted, side="left")
        count = torch.searchsorted(owner, wanted, side="right") - start
        if (count == 0).any():
            missing = wanted[count == 0]
            raise KeyError(f"{len(missing)} images have no descriptor, the first is image {int(missing[0])}")
        shift = torch.arange(int(count.sum())) - torch.repeat_interleave(count.cumsum(0) - count, count)
        return self._rows(order[torch.repeat_interleave(start, count) + shift])

    @classmethod
    def merge(cls, shards: list["Descriptors"]) -> "Descriptors":
        """Join shards into one, ordered by image; an image that several shards describe is taken from the first.

        The list is emptied on the way: regions of many pictures fill the memory, and no shard is held once it is in.

        Raises:
            ValueError: If there is no shard, or the shards are of different kinds.
        """
        if not shards:
            raise ValueError("there is no shard to merge")
        kinds = {(s.metric, s.data.shape[1], s.boxes is None, s.predicted is None) for s in shards}
        if len(kinds) > 1:
            raise ValueError(f"shards of different kinds cannot be merged: {sorted(map(str, kinds))}")
        lengths = [len(s) for s in shards]
        image = torch.cat([s.image for s in shards])
        shard = torch.repeat_interleave(torch.tensor(lengths))
        # A stable sort leaves an image's rows in the order of the shards: the first one names the shard that counts.
        order = torch.argsort(image, stable=True)
        fresh = torch.ones(len(order), dtype=torch.bool)
        fresh[1:] = image[order][1:] != image[order][:-1]
        counts = shard[order][fresh][fresh.cumsum(0) - 1]
        kept = order[shard[order] == counts]
        place = torch.full_like(image, -1)
        place[kept] = torch.arange(len(kept))
        joined = shards[0]._each(lambda x: x.new_empty(len(kept), *x.shape[1:]))
        for here in torch.split(place, lengths):
            part = shards.pop(0)._rows(here >= 0)
            for to, what in zip(joined._tensors(), part._tensors(), strict=True):
                to[here[here >= 0]] = what
        return joined

    def _rows(self, rows: Tensor) -> "Descriptors":
        return self._each(lambda x: x[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Descriptors":
        """The descriptors with something done to each tensor that they have."""
        boxes, predicted = (None if x is None else change(x) for x in (self.boxes, self.predicted))
        return Descriptors(change(self.data), change(self.image), self.metric, boxes, predicted)

    def _tensors(self) -> list[Tensor]:
        return [x for x in (self.data, self.image, self.boxes, self.predicted) if x is not None]

    def save(self, path: Path) -> None:
        """Write an uncompressed ``.npz`` file; nothing half-written is left behind."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        partial = path.with_name(path.name + ".part")
        with partial.open("wb") as file:
            np.savez(file, metric=np.array(self.metric), **{k: v.cpu().numpy() for k, v in arrays.items()})
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Descriptors":
        """Read what ``save`` wrote."""
        # NumPy leaves a file that it opened itself open where that is damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            boxes, predicted = (torch.from_numpy(file[x]) if x in file else None for x in ("boxes", "predicted"))
            metric: Metric = str(file["metric"])  # type: ignore[assignment]  # checked on construction
            return cls(torch.from_numpy(file["data"]), torch.from_numpy(file["image"]), metric, boxes, predicted)
