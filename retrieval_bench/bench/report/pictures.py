"""Small copies of the data sets' pictures: each once, for whatever pages show it."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.bench.data_at_hand import dataset_at_hand
from retrieval_bench.bench.results import Result
from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval_bench.datasets.base import RetrievalDataset

FOLDER = "pictures"
_SIDE, _WIDE, _QUALITY = 160, 1400, 76


@dataclass(frozen=True)
class Thumbnail:
    """A small copy.

    Attributes:
        src: Its file, from the report's folder.
        width: Its width in pixels.
        height: Its height in pixels.
        full: Width and height of the original.
    """

    src: str
    width: int
    height: int
    full: tuple[int, int]


class Album:
    """The pictures of one data set."""

    def __init__(self, dataset: "RetrievalDataset", folder: Path) -> None:
        """Make an empty album.

        Args:
            dataset: Where the pictures are.
            folder: The report's, which copies go to.
        """
        self.table = dataset.table
        self._dataset, self._folder = dataset, folder
        self._made: dict[int, Thumbnail | None] = {}

    def thumbnail(self, row: int) -> Thumbnail | None:
        """The copy of a row's picture, None if it cannot be read."""
        if row not in self._made:
            self._made[row] = self._make(row)
        return self._made[row]

    def _make(self, row: int) -> Thumbnail | None:
        from retrieval_bench.datasets.images import open_rgb

        try:
            picture = open_rgb(self._dataset.image_path(row))
        except RetrievalBenchError:
            return None
        full = picture.size
        src = _keep(self._folder, picture, side=_SIDE)
        return Thumbnail(src, *picture.size, full)


class Albums:
    """The albums of a report, looked for where the runs read their data."""

    def __init__(self, folder: Path, data: Path | None) -> None:
        """Look at nothing yet.

        Args:
            folder: The report's.
            data: The folder of all data sets; where the runs found them, or the usual place, if None.
        """
        self._folder, self._data = folder, data
        self._known: dict[tuple[str, str, str], Album | None] = {}

    def of(self, result: Result) -> Album | None:
        """The pictures that a result was measured on; None unless the very same data set is at hand."""
        place = (result.run.dataset, result.protocol.name, result.data.fingerprint)
        if place not in self._known:
            dataset = dataset_at_hand(result, self._data)
            self._known[place] = Album(dataset, self._folder) if dataset else None
        return self._known[place]


def keep_drawing(folder: Path, file: Path) -> str:
    """Copy what a run drew into the report, a fifth as large; returns its place there.

    Args:
        folder: The report's.
        file: The drawing.

    Raises:
        UnreadableImageError: If it is no picture.
    """
    from retrieval_bench.datasets.images import open_rgb

    return _keep(folder, open_rgb(file), side=_WIDE)


def _keep(folder: Path, picture: "Image", *, side: int) -> str:
    """Make a picture small and write it under the name of its content, so that no two of one content are there."""
    from PIL.Image import Resampling

    picture.thumbnail((side, side), Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    name = f"{FOLDER}/{hashlib.sha256(stream.getvalue()).hexdigest()[:16]}.jpg"
    if not (folder / name).exists():
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / name).write_bytes(stream.getvalue())
    return name
