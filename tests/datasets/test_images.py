"""Pictures of any mode and orientation load upright in RGB; others are named."""

import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from retrieval_bench.datasets import images
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import check_image, load_image, open_rgb


def photo(width: int = 45, height: int = 37) -> Image.Image:
    """A picture without any symmetry, smooth enough to survive JPEG."""
    y, x = np.mgrid[:height, :width]
    channels = (255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 5.0 + y / 9.0))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def pixels(path: Path) -> np.ndarray:
    image = load_image(path)
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


def save_one(path: Path, mode: str, value: object, **options: object) -> Path:
    Image.new(mode, (8, 6), value).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 30}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(45, 37), (64, 48), (17, 1)])
def test_jpeg_pixels_are_those_of_pil(tmp_path: Path, mode: str, size: tuple[int, int], options: dict[str, object]):
    path = tmp_path / "a.jpg"
    photo(*size).convert(mode).save(path, **options)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels(path), expected)
    assert np.array_equal(np.asarray(open_rgb(path)), expected)


def test_jpegs_load_without_torchvisions_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    exif = Image.Exif()
    exif[0x0112] = 8
    photo().save(tmp_path / "a.jpg", exif=exif)
    fast = pixels(tmp_path / "a.jpg")
    monkeypatch.setattr(images, "_jpeg_decoder", lambda: None)
    assert np.array_equal(pixels(tmp_path / "a.jpg"), fast)


def test_torchvisions_decoder_is_used_where_there_is_one():
    assert images._jpeg_decoder() is not None


@pytest.mark.data
def test_real_jpeg_pixels_are_those_of_pil(shared: Path):
    paths = sorted((shared / "sets").rglob("*.jpg"))[::150]
    assert len(paths) > 20
    for path in paths:
        assert np.array_equal(pixels(path), np.asarray(open_rgb(path))), path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, ending: str):
    path = tmp_path / f"a.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo().save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape[:2] == ((37, 45) if orientation < 5 else (45, 37))
    assert np.array_equal(pixels(path), expected)


def test_a_phone_photo_held_upright_is_turned_clockwise(tmp_path: Path):
    wide = Image.new("RGB", (32, 16), "blue")
    wide.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(tmp_path / "a.jpg", exif=exif)
    upright = pixels(tmp_path / "a.jpg")
    assert upright.shape == (32, 16, 3)
    assert upright[4, 8].argmax() == 0  # red came from the left, and is on top now
    assert upright[28, 8].argmax() == 2


@pytest.mark.parametrize(
    ("name", "mode", "value", "expected"),
    [
        ("grey.png", "L", 90, (90, 90, 90)),
        ("bits.png", "1", 1, (255, 255, 255)),
        ("grey_alpha.png", "LA", (90, 0), (255, 255, 255)),
        ("clear.png", "RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("half.png", "RGBA", (200, 0, 0, 51), (244, 204, 204)),  # a fifth of the colour, four fifths of white
        ("full.png", "RGBA", (200, 10, 0, 255), (200, 10, 0)),
        ("deep.png", "I;16", 0x5AFF, (0x5A, 0x5A, 0x5A)),
        ("deep.tif", "I", 0x5AFF, (0x5A, 0x5A, 0x5A)),
        ("ink.tif", "CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_modes_become_rgb(tmp_path: Path, name: str, mode: str, value: object, expected: tuple[int, int, int]):
    path = save_one(tmp_path / name, mode, value)
    assert np.abs(pixels(path).astype(int) - expected).max() <= 1
    assert check_image(path) is None


def test_cmyk_jpeg_is_read_as_adobe_writes_it_inverted(tmp_path: Path):
    path = save_one(tmp_path / "ink.jpg", "CMYK", (0, 255, 255, 0), quality=95)
    assert b"Adobe" in path.read_bytes()
    assert np.abs(pixels(path).astype(int) - (255, 0, 0)).max() <= 4


def test_palettes_become_rgb_and_their_transparent_entry_white(tmp_path: Path):
    image = Image.new("P", (8, 6), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (4, 0, 8, 6))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.gif", transparency=1)
    assert pixels(tmp_path / "plain.png")[0, [0, 7]].tolist() == [[10, 20, 30], [200, 100, 50]]
    assert pixels(tmp_path / "clear.gif")[0, [0, 7]].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_jpeg_under_a_wrong_name_loads(tmp_path: Path):
    photo().save(tmp_path / "a.png", format="JPEG")
    assert pixels(tmp_path / "a.png").shape == (37, 45, 3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_picture_cut_short_is_named(tmp_path: Path, ending: str, share: float):
    path = tmp_path / f"cut.{ending}"
    photo(200, 150).save(path)
    assert check_image(path) is None
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnreadableImageError, match="retrieval-bench data verify") as caught:
        load_image(path)
    reason = check_image(path)
    assert reason is not None
    assert str(caught.value).startswith(f"{path}: {reason}. ")
    assert caught.value.args == (str(caught.value),)  # as worker processes rebuild it


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"<!DOCTYPE html><html>", "no picture .*DOCTYPE"), (b"\xff\xd8\xff\xe0", "cut short")],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        load_image(tmp_path / "a.jpg")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    assert check_image(tmp_path / "none.jpg") == "there is no such file"
    assert check_image(tmp_path) is not None
    with pytest.raises(UnreadableImageError, match=r"none\.jpg: there is no such file"):
        load_image(tmp_path / "none.jpg")


def test_floating_point_pictures_are_refused(tmp_path: Path):
    path = save_one(tmp_path / "a.tif", "F", 0.5)
    with pytest.raises(UnreadableImageError, match="8 bits"):
        load_image(path)


@pytest.mark.parametrize("side", [12_000, 40_000])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path: Path, side: int, action: str):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)  # type: ignore[arg-type]
        assert "larger than any photo" in str(check_image(path))
        with pytest.raises(UnreadableImageError, match="larger than any photo"):
            load_image(path)


def test_checking_a_picture_does_not_import_torch(tmp_path: Path):
    photo().save(tmp_path / "a.jpg")
    code = (
        "import sys, pathlib; from retrieval_bench.datasets.images import check_image; "
        "assert check_image(pathlib.Path(sys.argv[1])) is None; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.jpg")], check=True)


def test_a_missing_picture_is_named_without_advice_on_data_sets(tmp_path: Path):
    for load in (load_image, open_rgb):
        with pytest.raises(UnreadableImageError) as caught:
            load(tmp_path / "a.jpg")
        assert str(caught.value) == f"{tmp_path / 'a.jpg'}: there is no such file"
