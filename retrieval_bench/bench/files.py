"""Files that are either whole or not there."""

import os
import secrets
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import BadZipFile

BROKEN_ARRAYS = (OSError, ValueError, TypeError, EOFError, RuntimeError, BadZipFile, zlib.error, TokenError)
"""What NumPy raises for a file of arrays that is none, is cut short or has a wrong byte in it."""


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that no reader and no crash ever sees half of it.

    Args:
        path: The file; its folder is made.
        text: The content, written as UTF-8.
    """
    _write(path, lambda stream: stream.write(text.encode()))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed ``.npz`` file, whole or not at all.

    Args:
        path: The file; its folder is made.
        arrays: NumPy arrays by name.
    """
    import numpy as np

    _write(path, lambda stream: np.savez_compressed(stream, **arrays))


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: other runs may be writing the same table.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
