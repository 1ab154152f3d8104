"""Commands that draw."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


class PictureError(RetrievalBenchError):
    """What was asked for cannot be drawn."""


def add_pictures_parser(commands: "Subparsers") -> None:
    """Add ``attention``."""
    parser = commands.add_parser(
        "attention",
        help="draw where a trained method looks",
        description="Draw the attention of a trained method over pictures, one row a picture, one column a block.",
        epilog="Example: retrieval-bench attention --checkpoint "
        "results/runs/smoke/cub/abir/s0/checkpoints/last.ckpt --output attention.png bird.jpg",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures to look at")
    parser.add_argument("--checkpoint", required=True, type=Path, help="a checkpoint that training wrote")
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write")
    parser.set_defaults(handler=_attention)


def _attention(options: argparse.Namespace) -> int:
    import torch

    from retrieval_bench.datamodules.transforms import centre_window, resize_image
    from retrieval_bench.datasets.images import load_image
    from retrieval_bench.nn.preprocessing import normalize
    from retrieval_bench.pictures.attention import attention_sheet
    from retrieval_bench.training.checkpoints import load_method

    if options.output.suffix.lower() != ".png":
        raise PictureError(f"--output must end in .png, not {options.output.name!r}")
    method: Any = load_method(options.checkpoint)
    if not getattr(method, "taps", None) or not hasattr(method, "attention_maps"):
        raise PictureError(f"the method in {options.checkpoint} has no attention to draw")
    resized = [resize_image(load_image(path), method.preprocessing.resize) for path in options.images]
    pictures = torch.stack([centre_window(x.shape[1], x.shape[2], method.preprocessing).cut(x) for x in resized])
    with torch.inference_mode():
        maps = method.attention_maps(normalize(pictures, method.preprocessing.family))
    sheet = attention_sheet(
        [p.permute(1, 2, 0).numpy() for p in pictures], {title: list(m.numpy()) for title, m in maps.items()}
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_name(options.output.name + ".part")
    sheet.save(partial, format="PNG")
    partial.replace(options.output)
    print(f"wrote {options.output}")
    return 0
