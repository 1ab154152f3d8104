"""The file of a data set's saliency boxes: JSON lines, a header of settings and then one line a picture."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError


class PictureBox(NamedTuple):
    """The salient part of one picture.

    Attributes:
        path: The picture, as the sample table names it.
        box: x1, y1, x2, y2 in pixels of the original picture; it ends before x2 and y2.
        size: Width and height of the original picture.
    """

    path: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]


class TableBoxes(NamedTuple):
    """The salient part of every picture of a sample table.

    Attributes:
        box: ``(n, 4)`` float32 x1, y1, x2, y2 in pixels of the original picture.
        size: ``(n, 2)`` int64 width and height of the picture in which the box was found.
    """

    box: npt.NDArray[np.float32]
    size: npt.NDArray[np.int64]


def read_boxes(file: Path, dataset: RetrievalDataset) -> TableBoxes:
    """Read the boxes of a data set's pictures, in the order of its table.

    Args:
        file: A complete file of boxes; it may hold more pictures than the table.
        dataset: Whose pictures are looked up.

    Raises:
        DataError: If the file is missing, damaged or cut short, or has no box of a picture.
    """
    make = f"make it with `retrieval-bench saliency {dataset.name} --root {dataset.root} --output {file.parent}`"
    if not file.is_file():
        raise DataError(f"there is no file of saliency boxes at {file.absolute()}; {make}")
    lines = file.read_text(encoding="utf-8").splitlines()
    header = parse_header(lines[0] if lines else "", BoxWriter.kind)
    if header is None:
        raise DataError(f"{file} is no file of saliency boxes: its first line does not say so; {make}")
    if header.get("pictures") != len(lines) - 1:
        raise DataError(
            f"{file} should hold {header.get('pictures')} pictures and holds {len(lines) - 1}; delete it and {make}"
        )
    found: dict[str, tuple[list[float], list[int]]] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            entry = json.loads(line)
            (x1, y1, x2, y2), (width, height) = entry["box"], entry["size"]
            found[entry["path"]] = [x1, y1, x2, y2], [width, height]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"line {number} of {file} is no box of a picture ({error}); delete it and {make}"
            ) from error
    missing = [path for path in dataset.table.path if path not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{file} has no box of {missing[0]}{more}: it was made of other pictures; delete it and {make}")
    rows = [found[path] for path in dataset.table.path]
    return TableBoxes(
        np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
        np.array([size for _, size in rows], np.int64).reshape(-1, 2),
    )


def picture_paths(dataset: RetrievalDataset) -> list[str]:
    """Every picture of a data set under any of its protocols, each once, in the order of the tables."""
    kind = type(dataset)
    tables = [kind(dataset.root, protocol.name).table for protocol in kind.protocols]
    return list(dict.fromkeys(path for table in tables for path in table.path))


def pictures_fingerprint(root: Path, paths: Sequence[str]) -> str:
    """Twelve hexadecimal digits over the paths of pictures and the lengths of their files.

    Raises:
        DataError: If a picture is missing.
    """
    try:
        lengths = [(root / path).stat().st_size for path in paths]
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: there is no such file; boxes are made of all pictures or none") from error
    return hashlib.sha256(json.dumps([list(paths), lengths]).encode()).hexdigest()[:12]


class PictureLine(Protocol):
    """What is known of one picture, a line of its file."""

    def _asdict(self) -> dict[str, Any]: ...


class BoxWriter:
    """Writes a file of boxes, line by line, so that work cut short is gone on with.

    Lines go to ``FILE.part``, which becomes ``FILE`` when all pictures are there. While one process writes, others are
    refused; the system lets go of the lock when the process dies.

    Args:
        file: The file to make; its folder is made too.
        settings: All that the boxes depend on: a file of other settings is never gone on with.
        pictures: How many there will be.

    Attributes:
        kind: What the file holds, in words. The header names it, so that no other JSON lines are taken for boxes.
        complete: Whether all pictures were there already, found with the same settings.
        count: How many pictures are written.

    Raises:
        DataError: If the file or its part has other settings, or another process writes it.
    """

    kind: ClassVar[str] = "saliency boxes"

    def __init__(self, file: Path, settings: dict[str, Any], pictures: int) -> None:
        self.file = file
        self._part = file.with_name(f"{file.name}.part")
        self._pictures = pictures
        self._header = {"format": f"{self.kind} 1", **settings, "pictures": pictures}
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._part.open("a+b")
        try:
            self._lock()
            self.complete = file.is_file()
            if self.complete:
                self._part.unlink(missing_ok=True)  # made by opening it: the part of the finished file is that file
                with file.open("rb") as finished:
                    self._check_header(finished.readline(), file)
            self.count = pictures if self.complete else self._take_up()
            if not self.complete and self.count == pictures:  # its writer died before the last step
                self._finish()
                self.complete = True
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> BoxWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file; what is written stays."""
        self._stream.close()

    def append(self, boxes: Iterable[PictureLine]) -> None:
        """Write some pictures; they survive the death of the process, and the last one puts the file in place."""
        lines = [json.dumps(box._asdict()) for box in boxes]
        self._write(lines)
        self.count += len(lines)
        if self.count == self._pictures:
            self._finish()

    def _finish(self) -> None:
        os.fsync(self._stream.fileno())
        self._part.replace(self.file)

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines).encode())
        self._stream.flush()

    def _lock(self) -> None:
        try:
            # Not flock: forked workers would share it, and outlive a killed parent for seconds.
            fcntl.lockf(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise DataError(
                f"another process is writing {self.file}; wait until it has ended, or name another folder"
            ) from error

    def _take_up(self) -> int:
        """Drop a torn last line, check the settings and count the pictures."""
        self._stream.seek(0)
        content = self._stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._stream.truncate(len(whole))
        if not whole:
            self._write([json.dumps(self._header)])
            return 0
        lines = whole.splitlines()
        self._check_header(lines[0], self._part)
        return len(lines) - 1

    def _check_header(self, line: bytes, file: Path) -> None:
        found = parse_header(line.decode(errors="replace"), self.kind)
        if found is None:
            raise DataError(f"{file} is no file of {self.kind}; delete it or name another folder")
        other = [key for key in self._header | found if self._header.get(key) != found.get(key)]
        if other:
            differences = ", ".join(f"{key} {found.get(key)!r} instead of {self._header.get(key)!r}" for key in other)
            raise DataError(f"{file} was made with {differences}; delete it or name another folder")


def parse_header(line: str, kind: str) -> dict[str, Any] | None:
    """The settings in a file's first line; None if it is of no such file.

    Args:
        line: That line.
        kind: What the file should hold, see ``BoxWriter``.
    """
    try:
        header = json.loads(line)
    except ValueError:
        return None
    return header if isinstance(header, dict) and header.get("format") == f"{kind} 1" else None
