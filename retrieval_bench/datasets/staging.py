"""Folders that appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval_bench.datasets.errors import DataError


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a fresh folder that takes the target's place if the block ends well, and vanishes if it does not.

    Args:
        target: The folder to be; it must not exist or be empty when the block ends.

    Yields:
        The folder to write in, on the target's file system.

    Raises:
        DataError: If nothing can be written there, or something appeared there meanwhile.
    """
    target = target.resolve()
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"cannot write in {target.parent}: {error.strerror}; name another folder") from error
    try:
        yield part
        try:
            if target.is_dir():
                target.rmdir()
            part.rename(target)
        except OSError as error:
            raise DataError(f"{target} cannot be put in place: {error.strerror}; name a new folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_vacant(target: Path) -> bool:
    """Whether a folder may be written: it does not exist, or is an empty folder.

    Raises:
        DataError: If it is a file.
    """
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder to write into")
    return not target.exists() or not any(target.iterdir())
