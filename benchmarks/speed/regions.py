"""The regional head of regional attention against a loop over its regions, on maps of the true sizes.

``python benchmarks/speed/regions.py [--quick]``. Maps of ResNet101: 24 x 32 cells of a picture of 1024 x 768 pixels, as
it is described (70 regions), and 25 x 25 of the 800 x 800 it is trained on (55), of 2048 channels; four at a time. The
head is all that follows the trunk and precedes the whitening: maxima and means of regions, and the attention. The quick
run has 512 channels. Printed beside it: the same maxima and means by slices with channels last, from a sparse table,
and from an integral image.
"""

import sys
from collections.abc import Callable

from _harness import measure, quick_flag, report

# isort: split
import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_bench.nn.regional_attention import RegionAttention
from retrieval_bench.nn.regions import Region, max_regions, mean_regions, picture_regions
from retrieval_bench.training.memory import keep_freed_memory

_PICTURES = {"describe": (768, 1024), "train": (800, 800)}
_STRIDE, _BATCH = 32, 4


def main() -> None:
    quick = quick_flag(__doc__ or "")
    keep_freed_memory()
    channels = 512 if quick else 2048
    generator = torch.Generator().manual_seed(0)
    for name, (height, width) in _PICTURES.items():
        cells = (height // _STRIDE, width // _STRIDE)
        maps = torch.rand(_BATCH, channels, *cells, generator=generator)
        regions = picture_regions((height, width), cells, _STRIDE)
        compare(f"regions_{name}" + "_quick" * quick, maps.contiguous(memory_format=torch.channels_last), regions)


@torch.inference_mode()
def compare(name: str, maps: Tensor, regions: tuple[Region, ...]) -> None:
    """Time all contenders on one problem, after checking that they agree."""
    torch.manual_seed(0)
    attention = RegionAttention(maps.shape[1])

    def ours() -> Tensor:
        attended: Tensor = attention(maps, regions)[..., None] * max_regions(maps, regions)
        return attended

    def loop(channels_last: bool) -> Callable[[], Tensor]:
        return lambda: by_regions(attention, maps if channels_last else maps.contiguous(), regions)

    contenders = {"ours": ours, "loop over regions": loop(False), "loop, channels last": loop(True)}
    expected = ours()
    for key, work in contenders.items():
        torch.testing.assert_close(work(), expected, atol=1e-4, rtol=0, msg=f"{key} disagrees")
    parts: dict[str, Callable[[], Tensor]] = {
        "maxima: rows, then columns": lambda: max_regions(maps, regions),
        "maxima: slices": lambda: maxima_by_slices(maps, regions),
        "maxima: sparse table": lambda: maxima_from_table(maps, regions),
        "means: matrix product": lambda: mean_regions(maps, regions),
        "means: integral image": lambda: means_from_integral(maps, regions),
    }
    for first, *others in (list(parts)[:3], list(parts)[3:]):
        for other in others:
            torch.testing.assert_close(parts[other](), parts[first](), atol=1e-5, rtol=0, msg=f"{other} disagrees")
    for key, found in measure(parts, 5).items():
        sys.stdout.write(f"{name:24} {key:32} {found.median:9.3f} s {found.peak_mib:26.0f} MiB\n")
    report(name, measure(contenders, 5))


def by_regions(attention: RegionAttention, maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """One region after another: cut, pool, join with the context, weigh."""
    context = maps.mean((2, 3))
    found = []
    for r in regions:
        cells = maps[:, :, r.y : r.y + r.height, r.x : r.x + r.width]
        seen = torch.cat([cells.mean((2, 3)), context], 1)
        weight = F.softplus(attention.out(torch.tanh(attention.hidden(seen))))
        found.append(weight * cells.amax((2, 3)))
    return torch.stack(found, 1)


def maxima_by_slices(maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """A reduction for each region, of rows and then of columns."""
    cells = maps.permute(0, 2, 3, 1).contiguous()
    return torch.stack([cells[:, r.y : r.y + r.height, r.x : r.x + r.width].amax(1).amax(1) for r in regions], 1)


def maxima_from_table(maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """Four look-ups for each region among the maxima of all rectangles whose sides are powers of two."""
    tables = {(0, 0): maps.permute(0, 2, 3, 1).contiguous()}

    def table(high: int, wide: int) -> Tensor:
        if (high, wide) not in tables:
            axis, half = (1, high - 1) if high > wide else (2, wide - 1)
            smaller = table(half, wide) if axis == 1 else table(high, half)
            rest = smaller.shape[axis] - 2**half
            tables[high, wide] = torch.maximum(smaller.narrow(axis, 0, rest), smaller.narrow(axis, 2**half, rest))
        return tables[high, wide]

    found = maps.new_empty(len(maps), len(regions), maps.shape[1])
    powers = [(r.height.bit_length() - 1, r.width.bit_length() - 1) for r in regions]
    for high, wide in set(powers):
        mine = [i for i, power in enumerate(powers) if power == (high, wide)]
        x, y, width, height = torch.tensor([regions[i] for i in mine]).unbind(1)
        maxima, bottom, right = table(high, wide), y + height - 2**high, x + width - 2**wide
        above = torch.maximum(maxima[:, y, x], maxima[:, y, right])
        found[:, mine] = torch.maximum(above, torch.maximum(maxima[:, bottom, x], maxima[:, bottom, right]))
    return found


def means_from_integral(maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
    """Four look-ups for each region in the sums of all rectangles at the corner, in double precision."""
    sums = maps.permute(0, 2, 3, 1).double().cumsum(1).cumsum(2)
    integral = F.pad(sums, (0, 0, 1, 0, 1, 0))
    x, y, width, height = torch.tensor(regions).unbind(1)
    below = integral[:, y + height, x + width] - integral[:, y + height, x]
    above = integral[:, y, x + width] - integral[:, y, x]
    return ((below - above) / (width * height)[:, None]).to(maps.dtype)


if __name__ == "__main__":
    main()
