"""How the miniatures' files are written, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Save a picture, making its folder.

    Args:
        image: The picture.
        path: Where to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="JPEG", quality=90)


def save_lines(path: Path, lines: Iterable[str]) -> None:
    """Save a text file, a newline after each line.

    Args:
        path: Where to; its folder is made.
        lines: Its lines.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def save_mat(path: Path, variables: dict[str, Any]) -> None:
    """Save a MATLAB 5 file without the time of writing, so that equal contents are equal files.

    Args:
        path: Where to; its folder is made.
        variables: The variables.
    """
    import scipy.io

    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables, format="5", oned_as="row")
    header = b"MATLAB 5.0 MAT-file, written by retrieval_bench".ljust(116)
    with path.open("r+b") as file:
        file.write(header)
