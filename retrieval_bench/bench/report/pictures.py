"""Small copies of the data sets' pictures: each once, for whatever pages show it."""

import hashlib
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.bench.data_at_hand import dataset_at_hand
from retrieval_bench.bench.results import Result
from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    from retrieval_bench.datasets.base import RetrievalDataset

FOLDER = "pictures"
_SIDE, _QUALITY = 160, 72


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
        from PIL import Image

        from retrieval_bench.datasets.images import open_rgb

        try:
            picture = open_rgb(self._dataset.image_path(row))
        except RetrievalBenchError:
            return None
        full = picture.size
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        stream = io.BytesIO()
        picture.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
        return Thumbnail(_keep(self._folder, stream.getvalue(), "jpg"), *picture.size, full)


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


def keep_file(folder: Path, file: Path) -> str:
    """Copy a picture as it is into the report; returns its place there.

    Args:
        folder: The report's.
        file: The picture.
    """
    return _keep(folder, file.read_bytes(), "png")


def _keep(folder: Path, content: bytes, ending: str) -> str:
    """Write a file under the name of its content, so that no two of one content are there."""
    name = f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
    if not (folder / name).exists():
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return name


def copy_file(folder: Path, file: Path, name: str) -> str:
    """Copy a file into the report under a name of its own; returns its place there."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / name)
    return name
