"""Writing an index: whole or not at all, whatever ends the writer, and in the memory of a few pictures.

New arrays are written beside those in use, and only then named by ``index.json``. What a writer has described so far
waits in ``shards``.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval_bench.bench.files import BROKEN_ARRAYS, write_whole
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.training.index_store import (
    INDEX_FILE,
    Head,
    Listed,
    Maker,
    PictureIndexError,
    array_files,
    demand_same_network,
    load_index,
    read_head,
    read_listed,
)

_SHARDS, _LOCK = "shards", "lock"
_BLOCK = 4096  # pictures that are copied at once


class IndexWriter:
    """Adds pictures to an index, or begins one; one process at a time.

    Args:
        folder: Where the index is, or will be.
        maker: The network.
        root: The folder that the pictures' paths start from.

    Raises:
        PictureIndexError: On entering, if another process writes it, or it is of another network or folder.
    """

    def __init__(self, folder: Path, maker: Maker, root: Path) -> None:
        self.folder, self._maker, self._root = folder, maker, root.resolve()
        self._shards = folder / _SHARDS

    def __enter__(self) -> "IndexWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / _LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise PictureIndexError(f"another process is writing the index in {self.folder}; let it finish") from error
        try:
            self.head = self._begun()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _begun(self) -> Head:
        head = read_head(self.folder)
        if head is None:
            self._refuse_what_is_not_ours()
            head = Head(made_by=self._maker, root=str(self._root))
            self._write(head)
        demand_same_network(self.folder, head, self._maker)
        if head.root != str(self._root):
            raise PictureIndexError(
                f"the index in {self.folder} is of the pictures in {head.root}, not of those in {self._root}; name "
                "another folder for it, or delete it"
            )
        return head

    def _refuse_what_is_not_ours(self) -> None:
        """What an index does not use is deleted, so that it must have its folder for itself."""
        for file in self.folder.iterdir():
            if file.name != _LOCK and not file.name.startswith(INDEX_FILE):
                raise PictureIndexError(
                    f"{self.folder} holds other things than an index ({file.name}): name a new or empty folder for it"
                )

    def listed(self) -> set[Listed]:
        """The pictures that are described, also those that the index has not taken in yet."""
        return {picture for part in self._parts() for picture in part.listed}

    def add(self, listed: Sequence[Listed], descriptors: Descriptors) -> None:
        """Keep the descriptors of some pictures; ``image`` counts them."""
        self._shards.mkdir(exist_ok=True)
        number = 1 + max((int(file.stem) for file in self._shards.glob("*.npz")), default=-1)
        descriptors.save(self._shards / f"{number:06}.npz")
        _write_listed(self._shards / f"{number:06}.json", listed)  # the second of both: it says that the first is whole

    def finish(self, listed: Sequence[Listed], skipped: Mapping[str, str]) -> Head:
        """Make an index of pictures that are all described, in this order, and forget all others.

        Args:
            listed: The pictures, at least one.
            skipped: What could not be read.
        """
        same = self.head.generation and tuple(listed) == read_listed(self._pictures())
        if same and skipped == self.head.skipped:
            self._clean()
            return self.head
        generation = self.head.generation + 1
        metric = self._merge(listed, generation)
        _write_listed(self._pictures(generation), listed)
        self.head = replace(
            self.head, generation=generation, metric=metric, pictures=len(listed), skipped=dict(sorted(skipped.items()))
        )
        self._write(self.head)
        self._clean()
        return self.head

    def _merge(self, listed: Sequence[Listed], generation: int) -> str:
        """Write the arrays of a generation, one part after the other; returns the metric."""
        place = {picture: i for i, picture in enumerate(listed)}
        rows = np.zeros(len(listed), np.int64)
        for part in self._parts():
            target = part.targets(place)
            rows[target[target >= 0]] = part.rows()[target >= 0]
        start = np.cumsum(rows) - rows
        arrays: dict[str, npt.NDArray[Any]] = {}
        metric = ""
        for part in self._parts():
            target = part.targets(place)
            for descriptors in part.blocks():
                metric = descriptors.metric
                image = descriptors.image.numpy()
                wanted = target[image] >= 0
                _, first, own = np.unique(image, return_index=True, return_inverse=True)
                within = np.arange(len(image)) - first[own]
                to = (start[target[image]] + within)[wanted]
                if not arrays:
                    arrays = _new_arrays(self.folder, generation, descriptors, int(rows.sum()))
                arrays["data"][to] = descriptors.data.numpy()[wanted]
                arrays["image"][to] = target[image][wanted]
                if descriptors.boxes is not None:
                    arrays["boxes"][to] = descriptors.boxes.numpy()[wanted]
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]  # they are memory-mapped
        return metric

    def _parts(self) -> Iterator["_Part"]:
        if self.head.generation:
            index = load_index(self.folder, self.head)
            yield _Part(index.listed, index.descriptors)
        for file in sorted(self._shards.glob("*.json")):
            yield _Part(read_listed(file), file.with_suffix(".npz"))

    def _pictures(self, generation: int | None = None) -> Path:
        return self.folder / f"pictures-{self.head.generation if generation is None else generation}.json"

    def _write(self, head: Head) -> None:
        write_whole(self.folder / INDEX_FILE, json.dumps(asdict(head), indent=2) + "\n")

    def _clean(self) -> None:
        """Delete what the index does not use any more."""
        used = {*array_files(self.folder, self.head.generation).values(), self._pictures()}
        ours = ("data-*.npy", "image-*.npy", "boxes-*.npy", "pictures-*.json", "*.json.*.part", f"{_SHARDS}/*")
        for file in [file for pattern in ours for file in self.folder.glob(pattern)]:
            if file not in used:
                file.unlink()
        if self._shards.is_dir():
            self._shards.rmdir()


@dataclass(frozen=True)
class _Part:
    """Some described pictures: an earlier generation, or the file of a shard."""

    listed: tuple[Listed, ...]
    source: Descriptors | Path

    def targets(self, place: Mapping[Listed, int]) -> npt.NDArray[np.int64]:
        """``(pictures,)`` where each is to stand; -1 for those that are not wanted any more."""
        return np.fromiter((place.get(picture, -1) for picture in self.listed), np.int64, len(self.listed))

    def rows(self) -> npt.NDArray[np.int64]:
        """``(pictures,)`` how many descriptors each has."""
        return np.bincount(self._descriptors().image.numpy(), minlength=len(self.listed))

    def blocks(self) -> Iterator[Descriptors]:
        """The descriptors of some pictures after the other; a shard's at once."""
        whole = self._descriptors()
        edges = range(0, len(self.listed) + _BLOCK, _BLOCK)
        row = np.searchsorted(whole.image.numpy(), list(edges))
        for first, last in pairwise(row):
            boxes = None if whole.boxes is None else whole.boxes[first:last]
            yield Descriptors(whole.data[first:last], whole.image[first:last], whole.metric, boxes)

    def _descriptors(self) -> Descriptors:
        if not isinstance(self.source, Path):
            return self.source
        try:
            return Descriptors.load(self.source)
        except (*BROKEN_ARRAYS, LookupError) as error:
            raise PictureIndexError(
                f"{self.source} is damaged ({error}): delete the folder {self.source.parent} and go on with the "
                "same command; its pictures are described again"
            ) from error


def _new_arrays(folder: Path, generation: int, like: Descriptors, rows: int) -> dict[str, npt.NDArray[Any]]:
    columns = {"data": like.data, "image": like.image, "boxes": like.boxes}
    return {
        name: np.lib.format.open_memmap(
            os.fspath(folder / f"{name}-{generation}.npy"),
            mode="w+",
            dtype=column.numpy().dtype,
            shape=(rows, *column.shape[1:]),
        )
        for name, column in columns.items()
        if column is not None
    }


def _write_listed(file: Path, listed: Sequence[Listed]) -> None:
    columns = zip(*listed, strict=True)
    write_whole(file, json.dumps(dict(zip(Listed._fields, columns, strict=True))))
