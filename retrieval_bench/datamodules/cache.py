"""Resized pictures on disk, so that later epochs need not decode: the same pixels, from one flat file."""

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.images import DecodedPictures, Picture, stack_pictures
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.errors import OptionError

_log = logging.getLogger(__name__)
_BUILD_BATCH = 32
# Decoders and resizers may round differently from one release to the next.
_PIXEL_MAKERS = ("torch", "torchvision", "pillow")


class CachedPictures(Dataset[Picture]):
    """The pictures of ``DecodedPictures``, decoded once and read back.

    The file holds ``(n, h, w, 3)`` uint8 pixels, then ``(n, 4)`` float32 boxes. Its name carries a hash of all that its
    pixels come from: the table, the length of each picture file, the crops, the size and the libraries. Any number of
    processes may ask for it at once: one builds it under a file lock, the others wait; it appears whole or not at all.

    Args:
        decoded: The pictures; they must be resized to one size.
        folder: Where the file is kept.
        num_workers: Processes that decode while it is built.

    Raises:
        OptionError: If the pictures are not resized to one size.
        DataError: If the folder cannot be written or has too little room.
    """

    def __init__(self, decoded: DecodedPictures, folder: Path, num_workers: int = 0) -> None:
        if not isinstance(decoded.resize, tuple):
            raise OptionError(
                f"pictures resized to {decoded.resize} keep their aspect, so they differ in size and cannot be cached: "
                "leave --data.cache off with this method"
            )
        self._shape = (len(decoded), *decoded.resize, 3)
        self._has_boxes = decoded.dataset.table.box is not None
        self._pixel_bytes = int(np.prod(self._shape))
        self._bytes = self._pixel_bytes + 16 * len(decoded)
        self.path = folder / f"{decoded.dataset.name}-{_key(decoded)}.rgb"
        if not self._complete():
            self._build(decoded, num_workers)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, row: int) -> Picture:
        # A copy: the file is mapped read-only, and torch wants memory it may write to.
        box = np.array(self._boxes[row]) if self._has_boxes else None
        return Picture(torch.from_numpy(np.array(self._pixels[row])), box)

    @cached_property
    def _pixels(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.path, np.uint8, "r", 0, self._shape)

    @cached_property
    def _boxes(self) -> npt.NDArray[np.float32]:
        return np.memmap(self.path, "<f4", "r", self._pixel_bytes, (self._shape[0], 4))

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes map the file anew; pickled, a map would be the whole file."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_pixels", "_boxes"}}

    def _complete(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size == self._bytes

    def _build(self, decoded: DecodedPictures, num_workers: int) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_suffix(".lock")):
                if not self._complete():
                    self._remove_torn()
                    self._check_room()
                    self._write(decoded, num_workers)
        except OSError as error:
            raise DataError(
                f"the cache of resized pictures cannot be written to {self.path.parent}: {error.strerror or error}. "
                "Give a folder that can be with --data.cache FOLDER, or set --data.cache false"
            ) from error

    def _remove_torn(self) -> None:
        """What a killed builder of this machine has left; whoever holds the lock is the only one who builds here."""
        for torn in self.path.parent.glob(f"{self.path.stem}.{socket.gethostname()}-*.part"):
            torn.unlink(missing_ok=True)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < self._bytes:
            raise DataError(
                f"the cache of resized pictures needs {self._bytes / 1e9:.1f} GB, {self.path.parent} has "
                f"{free / 1e9:.1f} GB left: give another folder with --data.cache FOLDER, or set --data.cache false"
            )

    def _write(self, decoded: DecodedPictures, num_workers: int) -> None:
        _log.info("decoding %d pictures into %s (%.1f GB)", len(self), self.path, self._bytes / 1e9)
        # Locks do not reach across every network file system: a name of its own keeps two builders apart even then.
        part = self.path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.part")
        loader = DataLoader(
            decoded,
            _BUILD_BATCH,
            num_workers=num_workers,
            collate_fn=stack_pictures,
            generator=torch.Generator(),  # its own, so that building leaves the global generator as it was
        )
        boxes = []
        try:
            with part.open("wb") as file:
                for pixels, box in loader:
                    file.write(pixels.numpy().data)
                    boxes.append(box.numpy())
                file.write(np.concatenate(boxes).astype("<f4").tobytes())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The system lets go of the lock when its holder dies, so none is ever left over; the empty file stays.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(decoded: DecodedPictures) -> str:
    dataset = decoded.dataset
    facts = {
        "table": dataset.table.fingerprint,
        "bytes": [_length(dataset.image_path(row)) for row in range(len(decoded))],
        "crop": [dataset.protocol.image_crop, dataset.protocol.query_crop],
        "boxes": decoded.salient.box.tolist() if decoded.salient is not None else None,
        "resize": decoded.resize,
        "packages": [importlib.metadata.version(name) for name in _PIXEL_MAKERS],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None  # decoding says which file is missing, and what to do
