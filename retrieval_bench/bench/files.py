"""Files that are either whole or not there."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that no reader and no crash ever sees half of it.

    Args:
        path: The file; its folder is made.
        text: The content, written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: other runs may be writing the same table.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
