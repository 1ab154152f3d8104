"""How fast pictures come in: decode, resize to 256x256 and normalize, against the usual torchvision pipeline on PIL.

One thread, JPEGs generated in the sizes of CUB (500x375) and of a camera (2000x1500). The two read the same files and
give the same pixels up to one grey level; that is asserted first. Prints a JSON line for each size and one for later
epochs from the cache of decoded pictures; the last line is for 500x375.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from _harness import measure, quick_flag, report
from PIL import Image
from torchvision import transforms

from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.images import load_image
from retrieval_bench.nn.preprocessing import normalize

SIDE = 256


def photo(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A picture with coarse shapes and fine grain, so that JPEG finds as much in it as in a photograph."""
    coarse = rng.integers(0, 256, (height // 25, width // 25, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def ours(path: Path) -> torch.Tensor:
    """What the loader does, and normalization, which otherwise is the device's."""
    return normalize(resize_image(load_image(path), (SIDE, SIDE)).contiguous(), "torchvision")


def peer() -> Any:
    """The usual pipeline of torchvision's examples."""
    steps = transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return lambda path: steps(Image.open(path).convert("RGB"))


def each(load: Callable[[Path], object], paths: list[Path]) -> None:
    """Load one picture after the other, keeping none."""
    for path in paths:
        load(path)


def cached(folder: Path, paths: list[Path]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A memory map of the resized pictures, in the layout of the loader's cache, and the rows to read."""
    file = folder / "pictures.rgb"
    with file.open("wb") as out:
        for path in paths:
            out.write(resize_image(load_image(path), (SIDE, SIDE)).permute(1, 2, 0).numpy().tobytes())
    return np.memmap(file, np.uint8, "r", 0, (len(paths), SIDE, SIDE, 3)), np.arange(len(paths))


def compare(name: str, width: int, height: int, count: int, repeat: int) -> None:
    """Time one picture size and print it."""
    rng = np.random.default_rng(0)
    usual = peer()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.jpg" for i in range(count)]
        for path in paths:
            photo(width, height, rng).save(path, quality=90)
        grey_levels = (ours(paths[0]) - usual(paths[0])).abs().amax((1, 2)) * torch.tensor([0.229, 0.224, 0.225]) * 255
        assert grey_levels.max() < 1.01, f"the pixels differ by {grey_levels.max():.2f} grey levels"
        pixels, rows = cached(Path(folder), paths)

        def from_cache() -> None:
            for row in rows:
                normalize(torch.from_numpy(np.array(pixels[row])).permute(2, 0, 1).contiguous(), "torchvision")

        measured = measure(
            {
                "ours": lambda: each(ours, paths),
                "torchvision on PIL": lambda: each(usual, paths),
            },
            repeat,
        )
        again = measure({"ours": from_cache, "ours, decoding": lambda: each(ours, paths)}, repeat)
    report(f"{name}_cached", again)
    report(name, measured)


def main() -> None:
    """Compare both sizes."""
    quick = quick_flag(__doc__ or "")
    torch.set_num_threads(1)
    compare("input_2000x1500", 2000, 1500, count=4 if quick else 40, repeat=3 if quick else 5)
    compare("input_500x375", 500, 375, count=40 if quick else 400, repeat=3 if quick else 5)


if __name__ == "__main__":
    main()
