"""Miniatures: small drawn data sets in each source's true on-disk format, for tests and for trying things out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.staging import is_vacant, staged

MARKER = "MINIATURE.txt"
VERSION = 1  # raise it when a change to the drawing or the formats changes any byte
# The module and the function that writes each.
_WRITERS: dict[str, tuple[str, str]] = {
    "cars196": ("cars196", "write"),
    "cub": ("cub", "write"),
    "imagenet": ("imagenet", "write"),
    "inshop": ("inshop", "write"),
    "sop": ("sop", "write"),
    "stanford_dogs": ("stanford_dogs", "write"),
    "voc2007": ("voc2007", "write"),
    **{
        name: ("oxford_paris", f"write_{name}")
        for name in ("oxford5k", "paris6k", "oxford105k", "paris106k", "roxford5k", "rparis6k", "flickr100k")
    },
}


def synthesize(name: str, root: Path, *, seed: int = 0) -> Path:
    """Write a miniature of a data set; the same seed gives the same bytes.

    It is written beside the folder and moved there when complete. One that is already there is kept.

    Args:
        name: The data set's key.
        root: The folder to write; it must be new, empty, or hold a miniature of the same data set and seed.
        seed: Which of many miniatures; their classes and pictures differ.

    Returns:
        The folder.

    Raises:
        DataError: If there is no miniature of that name, or the folder holds something else.
    """
    if name not in _WRITERS:
        raise DataError(f"there is no miniature of {name!r}; there is one of {', '.join(_WRITERS)}")
    label = _label(name, seed)
    if _is_there(root, name, seed, label):
        return root
    try:
        with staged(root) as part:
            module, function = _WRITERS[name]
            writer: Callable[[Path, int], None] = getattr(import_module(f"{__name__}.{module}"), function)
            writer(part, seed)
            (part / MARKER).write_text(label, encoding="utf-8")
            if not is_vacant(root) and not _is_there(root, name, seed, label):
                shutil.rmtree(root)  # ours, from an older version of the drawing
    except DataError:
        if not _is_there(root, name, seed, label):
            raise  # else another process was faster
    return root


def _label(name: str, seed: int) -> str:
    return (
        f"data set: {name}\nseed: {seed}\nversion: {VERSION}\n\n"
        f"A miniature of {name}, drawn by `retrieval-bench data synthesize`, without any picture of the real set.\n"
        "It has the files and the formats of the original, and a few made-up classes. Scores on it say whether the\n"
        "code works, not how good a method is. Free to use under the terms of retrieval_bench (Apache-2.0).\n"
    )


def _is_there(root: Path, name: str, seed: int, label: str) -> bool:
    """Whether the miniature is there already; one of an older version of the drawing is not."""
    if is_vacant(root):
        return False
    marker = root / MARKER
    found = marker.read_text(encoding="utf-8").split("\n") if marker.is_file() else []
    if not found:
        raise DataError(
            f"{root} is not empty and holds no miniature; nothing was written. Name a new folder with --root"
        )
    if found[:2] != label.split("\n")[:2]:
        raise DataError(
            f"{root} holds another miniature ({', '.join(found[:2])}), not {name} with seed {seed}; "
            "name another folder with --root, or delete it"
        )
    return found[:3] == label.split("\n")[:3]
