"""The files of an index: descriptors of pictures in plain arrays, which are memory-mapped, and what made them.

``index.json`` says which arrays are in use: ``data-3.npy``, ``image-3.npy``, ``boxes-3.npy`` and ``pictures-3.json``.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.files import BROKEN_ARRAYS
from retrieval_bench.bench.records import build
from retrieval_bench.bench.results import read_json
from retrieval_bench.errors import RetrievalBenchError
from retrieval_bench.retrieval.descriptors import Descriptors, Metric

INDEX_FILE = "index.json"


class PictureIndexError(RetrievalBenchError):
    """An index is missing, damaged, in use, not finished, or of another network."""


class Listed(NamedTuple):
    """A picture's file as it was when it was described.

    Attributes:
        path: From the index's root on.
        size: In bytes.
        changed: When it was last changed, in nanoseconds.
    """

    path: str
    size: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What made the descriptors of an index.

    Attributes:
        run: The run's name with its suite.
        method: The class of the network.
        config_hash: Names the run's configuration.
        checkpoint: SHA-256 of the network's file.
        preprocessing: How pictures are prepared.
        packages: Versions, when the index was begun.
    """

    run: str
    method: str
    config_hash: str
    checkpoint: str
    preprocessing: dict[str, Any]
    packages: dict[str, str]

    def same_network(self, other: "Maker") -> bool:
        """Whether both describe a picture alike, but for what the versions of packages may change."""
        return all(getattr(self, x) == getattr(other, x) for x in ("config_hash", "checkpoint", "preprocessing"))


@dataclass(frozen=True, kw_only=True)
class Head:
    """What ``index.json`` says.

    Attributes:
        made_by: What made the descriptors.
        root: The folder that the pictures' paths start from.
        generation: Which arrays are in use; 0 where none is finished yet.
        metric: How descriptors are compared.
        pictures: How many there are.
        skipped: Pictures that could not be read, with the reason.
        schema_version: Of the index.
    """

    made_by: Maker
    root: str
    generation: int = 0
    metric: str = ""
    pictures: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    schema_version: Literal[1] = 1


@dataclass(frozen=True)
class PictureIndex:
    """Pictures that can be searched.

    Attributes:
        head: What is known of them.
        listed: The pictures, in gallery order.
        descriptors: Theirs, memory-mapped; ``image`` counts the pictures.
    """

    head: Head
    listed: tuple[Listed, ...]
    descriptors: Descriptors

    @property
    def root(self) -> Path:
        """Where the pictures' paths start."""
        return Path(self.head.root)


def read_head(folder: Path) -> Head | None:
    """What is known of an index, or None where there is none.

    Raises:
        RecordError: If its file is damaged.
    """
    file = folder / INDEX_FILE
    return build(Head, read_json(file), file=file) if file.is_file() else None


def open_index(folder: Path, maker: Maker) -> PictureIndex:
    """Open a finished index to be searched with the network that made it.

    Args:
        folder: Where it is.
        maker: The network that will describe the queries.

    Raises:
        PictureIndexError: If it is missing, not finished, damaged, or of another network.
    """
    head = read_head(folder)
    if head is None:
        raise PictureIndexError(f"there is no index in {folder}; `retrieval-bench index build` makes one")
    demand_same_network(folder, head, maker)
    if not head.generation:
        raise PictureIndexError(f"the index in {folder} is not finished: go on with the command that began it")
    return load_index(folder, head)


def demand_same_network(folder: Path, head: Head, maker: Maker) -> None:
    """Refuse an index of another network.

    Raises:
        PictureIndexError: If it is one.
    """
    made = head.made_by
    if not made.same_network(maker):
        raise PictureIndexError(
            f"the index in {folder} was made by another network: {made.run}, config {made.config_hash}, checkpoint "
            f"{made.checkpoint[:12]}; this is {maker.run}, config {maker.config_hash}, checkpoint "
            f"{maker.checkpoint[:12]}. Search with that run, or delete the folder and build the index anew"
        )


def load_index(folder: Path, head: Head) -> PictureIndex:
    """Map the arrays of a finished index.

    Raises:
        PictureIndexError: If one is missing or damaged, or they do not belong together.
    """
    try:
        return _loaded(folder, head)
    except (*BROKEN_ARRAYS, LookupError, RecordError) as error:
        raise PictureIndexError(f"the index in {folder} is damaged ({error}); delete it and build it anew") from error


def _loaded(folder: Path, head: Head) -> PictureIndex:
    arrays = {name: torch.from_numpy(_mapped(file)) for name, file in array_files(folder, head.generation).items()}
    metric: Metric = head.metric  # type: ignore[assignment]  # checked in the next line
    if metric not in get_args(Metric):
        raise ValueError(f"unknown metric {metric!r}")
    listed = read_listed(folder / f"pictures-{head.generation}.json")
    if len(listed) != head.pictures or int(arrays["image"][-1]) != len(listed) - 1:
        raise ValueError("its files belong to different indices")
    return PictureIndex(head, listed, Descriptors(arrays["data"], arrays["image"], metric, arrays.get("boxes")))


def array_files(folder: Path, generation: int) -> dict[str, Path]:
    """The files of the arrays that an index has."""
    files = {name: folder / f"{name}-{generation}.npy" for name in ("data", "image", "boxes")}
    return {name: file for name, file in files.items() if name != "boxes" or file.is_file()}


def _mapped(file: Path) -> npt.NDArray[Any]:
    # Copy on write: nobody writes, but torch warns of arrays that nobody may write to.
    array: npt.NDArray[Any] = np.load(file, mmap_mode="c", allow_pickle=False)
    return array


def read_listed(file: Path) -> tuple[Listed, ...]:
    """Read a list of pictures."""
    columns = read_json(file)
    return tuple(map(Listed, columns["path"], columns["size"], columns["changed"]))
