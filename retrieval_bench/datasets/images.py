"""Pictures from disk: any mode and orientation in, upright RGB out, or an error that names the file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from retrieval_bench.datasets.errors import UnreadableImageError

if TYPE_CHECKING:
    from torch import Tensor

_ORIENTATION = 0x0112
_READ_AS_RGB = 3  # torchvision.io.ImageReadMode.RGB
# libjpeg gives PIL and torchvision the same pixels for these; four-channel JPEGs they convert differently.
_FAST_MODES = ("RGB", "L")
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    struct.error,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def load_image(path: Path) -> Tensor:
    """Load a picture upright and in RGB.

    JPEGs of three channels and of one are decoded by torchvision, to the same pixels as by PIL but faster; all else
    goes through PIL. Transparent pictures are laid on white, the ground of product pictures; 16-bit ones keep their
    high byte.

    Args:
        path: The picture.

    Returns:
        ``(3, H, W)`` uint8, its channels last in memory (as it was decoded, and as resizing is fastest).

    Raises:
        UnreadableImageError: If the file is missing, cut short, too large to be a photo, or no picture.
    """
    try:
        return _load(path)
    except _BadPictureError as bad:
        raise _unreadable(path, bad) from bad.__cause__


def open_rgb(path: Path) -> Image.Image:
    """Load a picture upright and in RGB through PIL alone, to the pixels of ``load_image``.

    Args:
        path: The picture.

    Raises:
        UnreadableImageError: As ``load_image`` does.
    """
    try:
        return _open(path)
    except _BadPictureError as bad:
        raise _unreadable(path, bad) from bad.__cause__


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as ``load_image`` gives it, from its header alone.

    Args:
        path: The picture.

    Raises:
        UnreadableImageError: If the file is missing or no picture.
    """
    try:
        with Image.open(path) as image:
            turned = _orientation(image) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except _DECODE_ERRORS:
        try:
            _open(path)
        except _BadPictureError as bad:
            raise _unreadable(path, bad) from bad.__cause__
        raise


def check_image(path: Path) -> str | None:
    """Say what is wrong with a picture, or None if every pixel of it decodes.

    Args:
        path: The picture.
    """
    try:
        _open(path)
    except _BadPictureError as bad:
        return str(bad)
    return None


class _BadPictureError(Exception):
    """Its message is what is wrong, without the file's name."""


def _unreadable(path: Path, bad: _BadPictureError) -> UnreadableImageError:
    if isinstance(bad.__cause__, FileNotFoundError):
        return UnreadableImageError(f"{path}: {bad}")
    return UnreadableImageError(
        f"{path}: {bad}. `retrieval-bench data verify NAME` lists every such picture of a data set; "
        "unpack or download them again."
    )


def _load(path: Path) -> Tensor:
    import torch

    data = _read(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_bomb(image)
            if image.format == "JPEG" and image.mode in _FAST_MODES:
                pixels = _decode_jpeg(data)
                if pixels is not None:
                    return _upright(pixels, _orientation(image))
            return torch.from_numpy(np.array(_to_rgb(image))).permute(2, 0, 1)
    except _DECODE_ERRORS as error:
        raise _BadPictureError(_reason(error, data)) from error


def _open(path: Path) -> Image.Image:
    data = _read(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_bomb(image)
            return _to_rgb(image)
    except _DECODE_ERRORS as error:
        raise _BadPictureError(_reason(error, data)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise _BadPictureError("there is no such file" if missing else error.strerror or str(error)) from error


def _reason(error: BaseException, data: bytes) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        if data.startswith((b"\xff\xd8", b"\x89PNG")):
            return f"it is cut short after {len(data)} bytes, before the first pixel"
        return f"it is no picture (it starts with {data[:16]!r})"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"it is larger than any photo ({error})"
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return f"it is cut short after {len(data)} bytes ({text})"
    return f"it cannot be decoded ({text})"


def _refuse_bomb(image: Image.Image) -> None:
    # PIL only warns up to twice this number, and torchvision does not look at all.
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels, at most {limit} are read")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DECODE_ERRORS:
        return 1  # a broken EXIF block says nothing about the pixels


@cache
def _jpeg_decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    # The operator under torchvision.io.decode_jpeg, which warns since 0.29 that decoding moves out of torchvision;
    # where it is gone PIL decodes the same pixels, more slowly.
    import torch

    try:
        import torchvision.io  # noqa: F401 - registers the operator

        decoder: Callable[[Tensor, int, bool], Tensor] = torch.ops.image.decode_jpeg
    except (ImportError, AttributeError, RuntimeError):
        return None
    return decoder


def _decode_jpeg(data: bytes) -> Tensor | None:
    import torch

    decode = _jpeg_decoder()
    if decode is None:
        return None
    try:
        return decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), _READ_AS_RGB, False)
    except RuntimeError:
        return None  # PIL decides what is readable, and words the reason


def _upright(pixels: Tensor, orientation: int) -> Tensor:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(-1, -2)
    flips = {2: (-1,), 3: (-1, -2), 4: (-2,), 6: (-1,), 7: (-1, -2), 8: (-2,)}.get(orientation, ())
    return pixels.flip(flips) if flips else pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    image.load()
    if image.mode.startswith("I"):
        high = np.clip(np.asarray(image), 0, 65535).astype(np.uint16) >> 8
        rgb = Image.fromarray(high.astype(np.uint8)).convert("RGB")
    elif image.mode == "F":
        raise ValueError("32-bit floating-point pictures have no known range; save it with 8 bits")
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(rgba, mask=rgba.getchannel("A"))
    else:
        rgb = image.convert("RGB")
    turn = _TRANSPOSE.get(orientation)
    return rgb if turn is None else rgb.transpose(turn)


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
