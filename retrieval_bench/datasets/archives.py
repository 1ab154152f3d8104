"""Archives unpacked safely: nothing lands outside the folder, and nothing half-unpacked stays behind."""

from __future__ import annotations

import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from retrieval_bench.datasets.errors import DataError

_TAR_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether a file is to be unpacked, by its name; a list or a .mat file is not."""
    return path.name.lower().endswith((*_TAR_ENDINGS, ".zip"))


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar or zip archive into a folder.

    It is unpacked beside the folder first; only a complete one is moved there, directory by directory, over files of
    the same names.

    Args:
        archive: The file; its name tells its kind.
        target: Where its contents go; made if it is not there.

    Raises:
        DataError: If it is damaged, larger than the disk has room for, or holds what a data set has no use for: a
            member outside the folder (an absolute path, ``..``), a link, a device.
    """
    target = target.resolve()
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
        room = _Room(archive, shutil.disk_usage(part).free)
        if archive.name.lower().endswith(".zip"):
            _unpack_zip(archive, part, room.take)
        else:
            _unpack_tar(archive, part, room.take)
        target.mkdir(parents=True, exist_ok=True)
        _merge(part, target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive} is damaged ({error}); delete it and download it again") from error
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked into {target}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


class _Room:
    """Counts down the free disk space, so that a bomb stops before the disk is full."""

    def __init__(self, archive: Path, free: int) -> None:
        self._archive, self._free, self._left = archive, free, free

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise DataError(
                f"{self._archive} unpacks to more than the {self._free:,} bytes that are free beside it; "
                "make room or name a folder on another disk"
            )


def _unpack_tar(archive: Path, part: Path, take: Callable[[int], None]) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"unpacking {archive.name} safely needs Python 3.11.4 or newer; unpack it by hand, or update")
    with tarfile.open(archive) as tar:
        for member in tar:
            _demand_inside(archive, member.name)
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.islnk() or member.issym() else "a device"
                raise _refused(archive, member.name, kind)
            take(member.size)
            tar.extract(member, part, filter="data")


def _unpack_zip(archive: Path, part: Path, take: Callable[[int], None]) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            _demand_inside(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, member.filename, "a link" if kind == stat.S_IFLNK else "a device")
            take(member.file_size)
            packed.extract(member, part)


def _demand_inside(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
        raise _refused(archive, name, "a path that leads outside")


def _refused(archive: Path, name: str, what: str) -> DataError:
    return DataError(
        f"{archive} holds {name!r}, {what}; a data set needs none, so nothing was unpacked. It is not the published "
        "archive: delete it and take it from the address on the card"
    )


def _merge(source: Path, target: Path) -> None:
    # Directories first, so that the data set is whole before the small files beside it appear.
    for entry in sorted(source.iterdir(), key=lambda x: (not x.is_dir(), x.name)):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place)
        else:
            entry.replace(place)
