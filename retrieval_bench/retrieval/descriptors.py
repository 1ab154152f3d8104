"""What a method says about images: vectors or packed codes, each row knowing its image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.retrieval.adc import check_codes

Metric = Literal["dot", "euclidean", "hamming", "adc"]
_TYPES: dict[Metric, tuple[torch.dtype, ...]] = {
    "dot": (torch.float32,),
    "euclidean": (torch.float32,),
    "hamming": (torch.uint8,),
    "adc": (torch.float32, torch.uint8, torch.int16),
}
_PREFIXES = ("query_", "gallery_")  # of arrays in a file of both sides


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
        if self.metric not in _TYPES:
            raise ValueError(f"metric must be {', '.join(_TYPES)}, got {self.metric!r}")
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
        return self.rows(order[torch.repeat_interleave(start, count) + shift])

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
            part = shards.pop(0).rows(here >= 0)
            for to, what in zip(joined._tensors(), part._tensors(), strict=True):
                to[here[here >= 0]] = what
        return joined

    def rows(self, chosen: Tensor) -> "Descriptors":
        """Some rows, by their numbers or by a mask."""
        return self._each(lambda x: x[chosen])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Descriptors":
        """The descriptors with something done to each tensor that they have."""
        boxes, predicted = (None if x is None else change(x) for x in (self.boxes, self.predicted))
        return Descriptors(change(self.data), change(self.image), self.metric, boxes, predicted)

    def _tensors(self) -> list[Tensor]:
        return [x for x in (self.data, self.image, self.boxes, self.predicted) if x is not None]

    def save(self, path: Path) -> None:
        """Write an uncompressed ``.npz`` file; nothing half-written is left behind."""
        _write(path, self._arrays())

    @classmethod
    def load(cls, path: Path) -> "Descriptors":
        """Read what ``save`` wrote.

        Raises:
            ValueError: If something is missing or wrong, besides all that NumPy raises for a damaged file.
        """
        # NumPy leaves a file that it opened itself open where that is damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return cls._from_arrays(file)

    def _arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        held = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return {f"{prefix}metric": np.array(self.metric), **{prefix + k: v.cpu().numpy() for k, v in held.items()}}

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str = "") -> "Descriptors":
        if missing := [prefix + name for name in ("data", "image", "metric") if prefix + name not in arrays]:
            raise ValueError(f"it has no array {', '.join(missing)}")
        found = {f.name: arrays[prefix + f.name] for f in fields(cls) if prefix + f.name in arrays}
        metric: Metric = str(found.pop("metric"))  # type: ignore[assignment]  # checked on construction
        return cls(metric=metric, **{name: torch.from_numpy(x) for name, x in found.items()})


def save_sides(query: Descriptors, gallery: Descriptors, path: Path, made_for: str = "") -> None:
    """Write what asks and what is searched to one ``.npz`` file; as ``save`` does where both are the same object.

    Args:
        query: Its arrays are called ``query_data``, ``query_image`` and so on.
        gallery: Its arrays begin with ``gallery_``.
        path: The file.
        made_for: The label of the protocol that they were made for; in the file, too.
    """
    query_prefix, gallery_prefix = _PREFIXES
    arrays = {} if query is gallery else query._arrays(query_prefix)
    arrays |= gallery._arrays("" if query is gallery else gallery_prefix)
    _write(path, {**arrays, **({"made_for": np.array(made_for)} if made_for else {})})


def load_sides(path: Path) -> tuple[Descriptors, Descriptors]:
    """What asks and what is searched, from a file of ``save_sides``; the same object twice from one of ``save``.

    Raises:
        ValueError: If something is missing or wrong or the sides cannot be compared, besides all that NumPy raises for
            a damaged file.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        if any(name.startswith(_PREFIXES) for name in file.files):
            query, gallery = (Descriptors._from_arrays(file, prefix) for prefix in _PREFIXES)
        else:
            query = gallery = Descriptors._from_arrays(file)
    check_comparable(query, gallery)
    return query, gallery


def check_comparable(query: Descriptors, gallery: Descriptors) -> None:
    """Refuse queries that cannot be compared with what is searched.

    Raises:
        ValueError: If a side has no columns, the metrics or the columns differ, or codes are not of the tables.
    """
    if not (query.data.shape[1] and gallery.data.shape[1]):
        raise ValueError("descriptors have no columns: there is nothing to compare")
    if query.metric == gallery.metric == "adc":
        check_codes(query.data, gallery.data)
    elif (query.metric, query.data.shape[1]) != (gallery.metric, gallery.data.shape[1]):
        raise ValueError(
            f"queries ({query.metric}, {query.data.shape[1]} columns) and gallery ({gallery.metric}, "
            f"{gallery.data.shape[1]} columns) cannot be compared"
        )


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
