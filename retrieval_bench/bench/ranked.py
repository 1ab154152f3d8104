"""What each query of a run finds first: the file that reports, searches and dashboards show ranked pictures from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.files import BROKEN_ARRAYS, write_arrays

RANKED_FILE = "ranked.npz"
RELEVANT, WRONG, JUNK = 1, 0, -1
"""What ``Ranked.relevance`` says of an image."""

_TYPES = {"query": np.int64, "image": np.int64, "score": np.float32, "relevance": np.int8, "box": np.float32}


@dataclass(frozen=True)
class Ranked:
    """The first images of every query, in the order that was scored; junk keeps its place.

    Attributes:
        query: ``(q,)`` int64 rows of the sample table.
        image: ``(q, k)`` int64 rows of the sample table, nearest first; -1 where there are fewer.
        score: ``(q, k)`` float32, greater is nearer: the dot product, or minus the squared Euclidean, the Hamming or
            the asymmetric distance. ``nan`` where there is no image, and where post-processing put it in its place.
        relevance: ``(q, k)`` int8, 1 relevant, 0 wrong, -1 junk; 0 where there is no image.
        box: ``(q, k, 4)`` float32 x1, y1, x2, y2 in pixels of the original picture: where the query was found in it;
            ``nan`` where that is not known.

    Raises:
        ValueError: If an array has another type or shape.
    """

    query: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    score: npt.NDArray[np.float32]
    relevance: npt.NDArray[np.int8]
    box: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.image.ndim != 2:
            raise ValueError(f"image has shape {self.image.shape}, expected one row a query")
        shape = self.image.shape
        shapes = {"query": shape[:1], "image": shape, "score": shape, "relevance": shape, "box": (*shape, 4)}
        for name, kind in _TYPES.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shapes[name]:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}, expected {np.dtype(kind)} of shape {shapes[name]}"
                )


def write_ranked(path: Path, ranked: Ranked) -> None:
    """Write what ``read_ranked`` reads, whole or not at all."""
    write_arrays(path, asdict(ranked))


def read_ranked(path: Path) -> Ranked:
    """Read the first images of every query.

    Args:
        path: A ``ranked.npz``.

    Raises:
        RecordError: If the file is missing, no such file, or lacks an array.
    """
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream) as file:
            arrays: dict[str, Any] = {name: file[name] for name in _TYPES}
        return Ranked(**arrays)
    except FileNotFoundError as error:
        raise RecordError(
            f"{path}: there is no such file; runs leave it beside their result, those of older versions did not: "
            "remove the run's folder and run it again to get it"
        ) from error
    except KeyError as error:
        raise RecordError(f"{path}: {error.args[0]}; this is no file of ranked results") from error
    except BROKEN_ARRAYS as error:
        raise RecordError(f"{path}: this is no file of ranked results ({error})") from error
