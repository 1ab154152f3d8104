"""Affine projections of descriptors that others published: whitening in MATLAB files and in checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrieval_bench.nn.weights import WeightsError, read_checkpoint

# Of Deep Image Retrieval, of the siaMAC and GeM toolbox (of a descriptor, of regions), and of a linear layer alone.
_LAYERS = ("fc.", "whiten.", "pool.whiten.", "")


class Projection(NamedTuple):
    """The map from x to ``weight @ x + bias``.

    Attributes:
        weight: ``(out, d)`` float64.
        bias: ``(out,)`` float64.
    """

    weight: Tensor
    bias: Tensor


def load_projection(path: Path) -> Projection:
    """Read a published projection.

    Args:
        path: A MATLAB file with ``weights`` and ``bias``, as R-MAC's whitening for VGG16 is passed on; a checkpoint
            with a linear layer behind the pooling (Deep Image Retrieval, the siaMAC and GeM toolbox); or that
            toolbox's learned whitening, mean ``m`` and projection ``P``, alone or for one scale in ``meta.Lw``.

    Raises:
        WeightsError: If the file is missing or damaged, or holds none or one of the wrong shape.
    """
    if not path.is_file():
        raise WeightsError(f"there is no projection at {path.absolute()}; give the path of a .mat file or a checkpoint")
    found = _in_matlab_file(path) if path.suffix == ".mat" else _in_checkpoint(read_checkpoint(path))
    if found is None:
        raise WeightsError(
            f"{path} holds no projection of descriptors: expected weights and bias, m and P, or a linear layer "
            "fc, whiten or pool.whiten"
        )
    weight, bias = (torch.as_tensor(x).to(torch.float64) for x in found)
    if weight.ndim != 2 or bias.numel() != len(weight):
        raise WeightsError(
            f"{path}: a weight of shape {tuple(weight.shape)} and a bias of {tuple(bias.shape)} disagree"
        )
    return Projection(weight, bias.reshape(-1))


def _in_matlab_file(path: Path) -> tuple[Any, Any] | None:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["weights", "bias"])
    except Exception as error:  # a damaged file raises nearly anything
        raise WeightsError(f"{path} is not a readable MATLAB file ({error}); fetch it again") from error
    return (content["weights"], content["bias"]) if {"weights", "bias"} <= content.keys() else None


def _in_checkpoint(content: Any) -> tuple[Any, Any] | None:
    if not isinstance(content, Mapping):
        return None
    for learned in (content, *_single_scale(content)):
        if {"m", "P"} <= learned.keys():
            mean, projection = (torch.as_tensor(learned[key]).double() for key in ("m", "P"))
            return projection, -projection @ mean.reshape(-1)
    state = {key.removeprefix("module."): value for key, value in content.get("state_dict", content).items()}
    for layer in _LAYERS:
        if f"{layer}weight" in state and f"{layer}bias" in state:
            return state[f"{layer}weight"], state[f"{layer}bias"]
    return None


def _single_scale(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The learned whitenings in a fine-tuned network's ``meta``, one for each set of pairs: those of one image size."""
    return [scales["ss"] for scales in content.get("meta", {}).get("Lw", {}).values()]
