"""A run's network as one file for other programs: ONNX or torch.export, checked against the network itself."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.provenance import PACKAGES, packages
from retrieval_bench.errors import OptionError
from retrieval_bench.methods import UDQ, GlobalPooling, RetrievalMethod
from retrieval_bench.training.describing import preprocessing_facts
from retrieval_bench.training.export_networks import DescriptorNetwork, ExportError, network_of

_TOLERANCE = 1e-4  # of the largest value: convolutions of other libraries add in another order
_MOST_CODES = 1e-3  # a codeword may be chosen that is as near as its neighbour but for rounding
_SIDE = 256  # of pictures in the check, where the network takes any
_REGIONS = 5

Format = Literal["onnx", "pt2"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: The network.
        facts: The JSON file beside it.
        difference: The largest difference from the network itself, over all inputs of the check.
        differing_codes: How many numbers of codes differ, as a share.
    """

    file: Path
    facts: Path
    difference: float
    differing_codes: float


def export(
    method: RetrievalMethod, file: Path, origin: Mapping[str, Any], size: tuple[int, int] | None = None
) -> Exported:
    """Write a network as one file, and beside it, as JSON, what must be known to use it.

    Normalisation is in the file, and all that follows it up to the descriptor: whitening, hashing and codes. Any number
    of pictures goes in at once; of any size, where the network takes any. Every input of the check must give what the
    method itself gives; otherwise nothing is written.

    Args:
        method: In evaluation mode on the CPU. It is not fit for training any more.
        file: Ends in ``.onnx`` (checked by onnxruntime) or ``.pt2`` (``torch.export``).
        origin: Where the network comes from, for the JSON file.
        size: Height and width of all pictures, for networks that must know it.

    Raises:
        OptionError: If the ending is another one, or a size is missing or impossible.
        ExportError: If the method cannot be exported, or what was exported computes something else.
    """
    if file.suffix not in (".onnx", ".pt2"):
        raise OptionError(f"--output must end in .onnx or .pt2, not {file.name!r}")
    network, shape = network_of(method), _shape(method, size)
    kind: Format = "onnx" if file.suffix == ".onnx" else "pt2"
    inputs = [_inputs(network, shape, seed) for seed in range(4)]
    part = file.with_name(f"{file.stem}.part{file.suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of exporters, about themselves
            _write(network, inputs[0], shape, kind, part)
            difference, codes = _compare(network, inputs, kind, part)
        if difference > _TOLERANCE or codes > _MOST_CODES:
            raise ExportError(
                f"{file} was not written: it differs from the network by {difference:.2g} of the largest value and in "
                f"{codes:.2%} of the codes, and {_TOLERANCE:.0e} and {_MOST_CODES:.1%} are allowed"
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    facts = file.with_suffix(".json")
    checked = {"largest_difference": difference, "differing_codes": codes, "inputs": [_shapes(x) for x in inputs]}
    write_whole(facts, json.dumps(_facts(network, file, shape, inputs[0], checked, origin), indent=2) + "\n")
    return Exported(file, facts, difference, codes)


def _shape(method: RetrievalMethod, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Height and width of pictures; None for any."""
    if size is not None and min(size) < 1:
        raise OptionError(f"--size {size[0]} {size[1]} is no size of a picture: height and width are at least 1 pixel")
    recipe = method.preprocessing
    fixed = (recipe.crop, recipe.crop) if recipe.crop else recipe.resize if isinstance(recipe.resize, tuple) else None
    if fixed is not None and size not in (None, fixed):
        raise OptionError(
            f"{type(method).__name__} here sees pictures of {fixed[0]} by {fixed[1]} pixels: leave --size out"
        )
    if fixed is None and size is None and not isinstance(method, GlobalPooling | UDQ):
        raise OptionError(
            f"{type(method).__name__} lays its regions on a grid that depends on the size of the picture: say which "
            "size yours will have, for instance --size 768 1024 (height and width)"
        )
    return fixed or size


def _inputs(network: DescriptorNetwork, shape: tuple[int, int] | None, seed: int) -> tuple[Tensor, ...]:
    """Pictures of noise and, in every other call, of smooth colours; of several sizes where any is taken."""
    chance = torch.Generator().manual_seed(seed)
    height, width = shape or (_SIDE - 32 * (seed % 2), _SIDE + 64 * (seed // 2))
    count = 2 + seed % 2
    if seed % 2:
        blurred = F.interpolate(torch.rand(count, 3, 6, 8, generator=chance), (height, width), mode="bicubic")
        image = (blurred * 255).round().clamp(0, 255).to(torch.uint8)
    else:
        image = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=chance)
    if "boxes" not in network.inputs:
        return (image,)
    size = torch.tensor([width, height], dtype=torch.float32)
    corners = torch.rand(count, _REGIONS, 2, 2, generator=chance).sort(2).values * size
    corners[:, 0, 0], corners[:, 0, 1] = 0, size
    return image, corners.flatten(2)


def _dynamic(network: DescriptorNetwork, shape: tuple[int, int] | None) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch", min=1, max=2**16)
    axes: dict[int, Any] = {0: batch}
    if shape is None:
        axes |= {2: torch.export.Dim("height", min=64, max=2**13), 3: torch.export.Dim("width", min=64, max=2**13)}
    if "boxes" not in network.inputs:
        return (axes,)
    return axes, {0: batch, 1: torch.export.Dim("regions", min=1, max=2**16)}


def _write(
    network: DescriptorNetwork, example: tuple[Tensor, ...], shape: tuple[int, int] | None, kind: Format, file: Path
) -> None:
    dynamic = _dynamic(network, shape)
    try:
        if kind == "pt2":
            torch.export.save(torch.export.export(network, example, dynamic_shapes=dynamic, strict=False), file)
            return
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            custom_translation_table=_translations(network),
            verbose=False,
        )
        assert program is not None
        program.save(file, external_data=False)
    except ImportError as error:
        raise _missing(error) from error
    except Exception as error:  # a graph can fail in many ways, and none of them is the user's doing
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        advice = "; with --size, for pictures of one size, it may" if shape is None else ""
        raise ExportError(
            f"{type(network.method).__name__} does not go into {kind}: {str(cause).strip().splitlines()[0]}{advice}"
        ) from error


def _missing(error: ImportError) -> ExportError:
    return ExportError(f"ONNX needs a package that is not there ({error}): pip install 'retrieval-bench[export]'")


def _translations(network: DescriptorNetwork) -> dict[Any, Any]:
    """Operators that the exporter translates wrongly: it calls RoI pooling with arguments its translation lacks."""
    if "boxes" not in network.inputs:
        return {}
    from onnxscript import opset18

    def roi_pool(maps: Any, boxes: Any, scale: float, height: int, width: int) -> Any:
        pooled = opset18.MaxRoiPool(maps, boxes, pooled_shape=(height, width), spatial_scale=scale)
        return pooled, pooled  # the second, where the maxima were, is asked for by nobody

    return {torch.ops.torchvision.roi_pool.default: roi_pool}


def _compare(
    network: DescriptorNetwork, inputs: Sequence[tuple[Tensor, ...]], kind: Format, file: Path
) -> tuple[float, float]:
    """The largest difference of vectors, as a share of the largest value, and the largest share of differing codes."""
    run = _runner(network, kind, file)
    difference = codes = 0.0
    for example in inputs:
        for got, wanted in zip(run(example), network.expected(*example), strict=True):
            if got.shape != wanted.shape:
                raise ExportError(
                    f"the exported network gives {tuple(got.shape)} where {tuple(wanted.shape)} was expected"
                )
            if wanted.is_floating_point():
                largest = max(1.0, float(wanted.abs().max()))
                difference = max(difference, float((got - wanted).abs().max()) / largest)
            else:
                codes = max(codes, float((got != wanted).double().mean()))
    return difference, codes


def _runner(network: DescriptorNetwork, kind: Format, file: Path) -> Any:
    if kind == "pt2":
        module = torch.export.load(file).module()
        return lambda example: module(*example)
    try:
        import onnxruntime  # type: ignore[import-untyped]  # ships no types

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except ImportError as error:
        raise _missing(error) from error
    except Exception as error:  # onnxruntime's have no base of their own
        raise ExportError(f"onnxruntime cannot load what was exported: {error}") from error

    def run(example: tuple[Tensor, ...]) -> list[Tensor]:
        named = {name: x.numpy() for name, x in zip(network.inputs, example, strict=True)}
        try:
            return [torch.from_numpy(np.asarray(x)) for x in session.run(list(network.outputs), named)]
        except Exception as error:  # as above
            raise ExportError(f"onnxruntime cannot run what was exported: {error}") from error

    return run


def _facts(
    network: DescriptorNetwork,
    file: Path,
    shape: tuple[int, int] | None,
    example: tuple[Tensor, ...],
    checked: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    height, width = shape or ("height", "width")
    entries = {"image": ["batch", 3, height, width], "boxes": ["batch", "regions", 4]}
    described = network.expected(*example)
    return {
        "file": file.name,
        "method": type(network.method).__name__,
        **origin,
        "inputs": [
            {"name": x, "type": str(t.dtype)[6:], "shape": entries[x]}
            for x, t in zip(network.inputs, example, strict=True)
        ],
        "outputs": [
            {
                "name": x,
                "type": str(t.dtype)[6:],
                "shape": ["batch", *(["regions"] if t.ndim == 3 else []), t.shape[-1]],
            }
            for x, t in zip(network.outputs, described, strict=True)
        ],
        "image": "RGB pixels 0 to 255, upright, resized and cropped as preprocessing says; the file normalises them",
        "boxes": "x1 y1 x2 y2 in pixels of the image" if "boxes" in network.inputs else None,
        "metric": "adc" if "code" in network.outputs else network.described(example[0]).metric,
        "preprocessing": preprocessing_facts(network.method.preprocessing),
        "not_in_the_file": ["decoding, resizing and cropping of pictures", *network.left_out],
        "check": checked,
        "packages": packages((*PACKAGES, "onnx", "onnxruntime", "onnxscript")),
    }


def _shapes(example: tuple[Tensor, ...]) -> list[list[int]]:
    return [list(x.shape) for x in example]
