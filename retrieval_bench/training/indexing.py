"""From pictures to an index: a run's own gallery, or any folder of pictures; what is interrupted is gone on with."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.datamodules.loose import LooseDataModule, LoosePictures
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import check_image, load_image
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.training.describing import Describer
from retrieval_bench.training.finished import RunError
from retrieval_bench.training.index_store import Listed, PictureIndexError
from retrieval_bench.training.index_writer import IndexWriter

OWN = "index"
"""The folder of the index of a run's own gallery, in the run's folder."""

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_AT_ONCE = 256  # pictures that are described between two writes: 120 MB of UDQ's regions

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Gallery:
    """Pictures to be searched.

    Attributes:
        data: Batches of them.
        rows: Their rows in its table, in gallery order, ascending.
        listed: Their files.
        complete: Whether all must be readable, for scores are of all.
    """

    data: RetrievalDataModule
    rows: IntArray
    listed: list[Listed]
    complete: bool


@dataclass(frozen=True)
class Built:
    """What building an index came to.

    Attributes:
        pictures: How many it has.
        described: How many of them were described now.
        dropped: How many were described before whose files are gone or have changed.
        skipped: What cannot be read, with the reason.
    """

    pictures: int
    described: int
    dropped: int
    skipped: dict[str, str]


def own_gallery(describer: Describer, data_dir: Path, num_workers: int | None = None) -> Gallery:
    """The gallery that a run was scored on.

    Args:
        describer: Of the run.
        data_dir: The folder of the data sets.
        num_workers: Processes that decode.

    Raises:
        RunError: If other pictures are there.
    """
    data = describer.run.datamodule(data_dir, num_workers)
    data.preprocessing = describer.method.preprocessing
    rows = data.ground_truth.gallery
    listed = [_listed(data.dataset.root, data.table.path[row]) for row in rows.tolist()]
    return Gallery(data, rows, listed, complete=True)


def folder_gallery(describer: Describer, folder: Path, num_workers: int | None = None) -> Gallery:
    """All pictures in a folder and the folders in it, by their paths.

    Raises:
        PictureIndexError: If there are none.
        RunError: If the method looks where a file says that objects are, which is only known of its own pictures.
    """
    if describer.method.preprocessing.proposals is not None:
        raise RunError(
            f"{describer.run.result.run.name} takes its regions from {describer.method.preprocessing.proposals}, which "
            "knows no other pictures: index with a run whose regions are those of a grid"
        )
    listed = pictures_below(folder)
    if not listed:
        raise PictureIndexError(f"there is no picture in {folder} ({', '.join(ENDINGS)})")
    result = describer.run.result
    pictures = LoosePictures(folder, [x.path for x in listed], result.protocol, role="gallery")
    batch_size = result.config["data"]["init_args"].get("eval_batch_size", 64)
    preprocessing = describer.method.preprocessing
    data = LooseDataModule(pictures, preprocessing, eval_batch_size=batch_size, num_workers=num_workers)
    return Gallery(data, np.arange(len(listed), dtype=np.int64), listed, complete=False)


def pictures_below(folder: Path) -> list[Listed]:
    """The files with a picture's ending in a folder and below, ordered by their paths.

    Raises:
        PictureIndexError: If there is no such folder.
        OSError: If one of the folders cannot be read.
    """
    if not folder.is_dir():
        raise PictureIndexError(f"there is no folder {folder} to index")

    def fail(error: OSError) -> None:
        raise error

    found = []
    for place, _, names in os.walk(folder, onerror=fail):
        below = Path(place).relative_to(folder)
        found += [_listed(folder, (below / name).as_posix()) for name in names if name.lower().endswith(ENDINGS)]
    return sorted(found)


def _listed(root: Path, path: str) -> Listed:
    try:
        facts = (root / path).stat()
    except FileNotFoundError:
        return Listed(path, -1, 0)  # whoever reads it says so
    return Listed(path, facts.st_size, facts.st_mtime_ns)


def build_index(describer: Describer, gallery: Gallery, folder: Path, progress: Progress | None = None) -> Built:
    """Make an index, or bring it up to date: what it has of unchanged files is kept.

    Args:
        describer: What describes the pictures.
        gallery: The pictures.
        folder: Where the index goes.
        progress: Told how many pictures are done, of how many that are to be described.

    Raises:
        PictureIndexError: If the index is of another network or folder, or none of the pictures can be read.
        UnreadableImageError: If one of a complete gallery cannot be read.
    """
    root = gallery.data.dataset.root
    with IndexWriter(folder, describer.maker, root) as writer:
        had = writer.listed()
        missing = [i for i, listed in enumerate(gallery.listed) if listed not in had]
        skipped: dict[str, str] = {}
        for first in range(0, len(missing), _AT_ONCE):
            places = np.array(missing[first : first + _AT_ONCE])
            _describe_some(describer, gallery, places, writer, skipped)
            if progress is not None:
                progress(first + len(places), len(missing))
        listed = [x for x in gallery.listed if x.path not in skipped]
        if not listed:
            raise PictureIndexError(f"none of the {len(skipped)} pictures in {root} can be read")
        head = writer.finish(listed, skipped)
    return Built(head.pictures, len(missing) - len(skipped), len(had.difference(listed)), skipped)


def _describe_some(
    describer: Describer, gallery: Gallery, places: IntArray, writer: IndexWriter, skipped: dict[str, str]
) -> None:
    try:
        descriptors = describer.describe(gallery.data, gallery.rows[places])[1]
    except UnreadableImageError:
        if gallery.complete:
            raise
        root = gallery.data.dataset.root
        reasons = dict(_unreadable(root, [gallery.listed[i].path for i in places.tolist()]))
        if not reasons:
            raise
        skipped.update(reasons)
        places = np.array([i for i in places.tolist() if gallery.listed[i].path not in reasons], np.int64)
        if not len(places):
            return
        descriptors = describer.describe(gallery.data, gallery.rows[places])[1]
    writer.add([gallery.listed[i] for i in places.tolist()], descriptors)


def _unreadable(root: Path, paths: list[str]) -> Iterator[tuple[str, str]]:
    """The pictures that cannot be read, and why."""

    def reason(path: str) -> str | None:
        try:
            load_image(root / path)
        except UnreadableImageError:
            return check_image(root / path) or "it cannot be decoded"
        return None

    with ThreadPoolExecutor() as pool:
        for path, said in zip(paths, pool.map(reason, paths), strict=True):
            if said is not None:
                yield path, said
