"""What the commands that draw share: the pictures to look at, and the PNG to write."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    from PIL import Image

LANDMARKS = ("oxford5k", "paris6k", "oxford105k", "paris106k", "roxford5k", "rparis6k")


class PictureError(RetrievalBenchError):
    """What was asked for cannot be drawn."""


def add_pictures_of_checkpoint(parser: argparse.ArgumentParser, *, checkpoint: str) -> None:
    """Add the pictures to look at, the checkpoint that looks, and the PNG to write.

    Args:
        parser: Where to add them.
        checkpoint: What kind of checkpoint it is, for the help.
    """
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures to look at")
    parser.add_argument("--checkpoint", required=True, type=Path, help=checkpoint)
    add_png(parser)


def add_png(parser: argparse.ArgumentParser) -> None:
    """Add ``--output``, the PNG to write."""
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")


def check_png(option: str, file: Path) -> None:
    """Refuse a file of another ending, before there is anything to draw.

    Raises:
        PictureError: If the file is no PNG.
    """
    if file.suffix.lower() != ".png":
        raise PictureError(f"{option} must end in .png, not {file.name!r}")


def save_sheet(sheet: "Image.Image", file: Path) -> None:
    """Write a sheet whole or not at all, and say where it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    sheet.save(partial, format="PNG")
    partial.replace(file)
    print(f"wrote {file}")
