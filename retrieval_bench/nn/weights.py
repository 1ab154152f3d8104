"""Where a network's weights come from: torchvision's published files or a checkpoint of the user's."""

import hashlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models

from retrieval_bench.errors import RetrievalBenchError
from retrieval_bench.nn.importers import torchvision_names
from retrieval_bench.nn.preprocessing import WeightsFamily

# A machine without a network must say so within seconds.
_CONNECT_TIMEOUT_S = 10.0

# What an array is made of, under the names of NumPy 1 and 2: toolboxes keep whitening beside the weights.
_ARRAYS: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in (np.float32, np.float64))]
for _module in ("numpy.core", "numpy._core"):
    _ARRAYS += [(np.zeros(1).__reduce__()[0], f"{_module}.multiarray._reconstruct")]
    _ARRAYS += [(np.float64().__reduce__()[0], f"{_module}.multiarray.scalar")]


class WeightsError(RetrievalBenchError):
    """Weights are not at hand or do not fit the network; the message names the file and what to do."""


def load_state_dict(name: str, weights: str, family: WeightsFamily, *, like: nn.Module) -> dict[str, Tensor]:
    """Read the weights of the convolutional part of a network.

    Args:
        name: torchvision's name of the network.
        weights: ``imagenet`` or the path of a state dict with the key names of torchvision or of a retrieval toolbox,
            or of a checkpoint of ours (see ``importers``).
        family: The family the weights must belong to; torchvision publishes none of Caffe's.
        like: The full network. Every key of its trunk must be there, in its shape; a classifier may be missing.

    Returns:
        The state dict without the keys of the classifier.

    Raises:
        WeightsError: If the file is missing, damaged, cannot be fetched, or does not fit.
    """
    path = weights_file(name, weights, family)
    content = read_checkpoint(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    expected = {key: value.shape for key, value in like.state_dict().items() if not _is_head(key)}
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict of tensors, which {name} expects")
    trunk = {key: value for key, value in torchvision_names(state, like).items() if not _is_head(key)}
    wrong = sorted(
        # Files older than this counter are whole without it.
        [f"{k} is missing" for k in expected.keys() - trunk.keys() if not k.endswith("num_batches_tracked")]
        + [f"{key} is unknown" for key in trunk.keys() - expected.keys()]
        + [
            f"{key} has shape {tuple(trunk[key].shape)} instead of {tuple(expected[key])}"
            for key in expected.keys() & trunk.keys()
            if trunk[key].shape != expected[key]
        ]
    )
    if wrong:
        raise WeightsError(f"{path} does not fit {name}: {'; '.join(wrong[:3])} ({len(wrong)} in all)")
    return trunk


def weights_file(name: str, weights: str, family: WeightsFamily) -> Path:
    """The file of a network's weights, fetched first where it is a published one that is not at hand.

    Args:
        name: torchvision's name of the network.
        weights: ``imagenet`` or a path.
        family: The family the weights must belong to.

    Raises:
        WeightsError: If it is missing or cannot be fetched.
    """
    path = _published_file(name, family) if weights == "imagenet" else Path(weights)
    if not path.is_file():
        raise WeightsError(
            f"there are no weights at {path.absolute()}; give the path of a state dict of {name}, 'imagenet' or 'none'"
        )
    return path


def read_checkpoint(path: Path) -> Any:
    """Read a file that ``torch.save`` wrote, if it holds tensors, arrays and plain containers alone.

    Args:
        path: The file. Whatever else it asks for is refused and not run.

    Raises:
        WeightsError: If it is damaged or holds other objects; the message names the first kind of them.
    """
    try:
        with torch.serialization.safe_globals(_ARRAYS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        foreign = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if foreign:
            raise WeightsError(
                f"{path} holds {foreign[1]} beside its weights, and reading that could run anything on this machine. "
                "Where you trust the file, load it with torch, keep its state_dict alone, and save that"
            ) from error
        raise WeightsError(
            f"{path} is not a readable state dict ({str(error).splitlines()[0]}); fetch it again"
        ) from error


def _is_head(key: str) -> bool:
    return key.startswith(("classifier.", "fc."))


def _published_file(name: str, family: WeightsFamily) -> Path:
    if family == "caffe":
        raise WeightsError(
            f"torchvision publishes no Caffe weights of {name}; set weights to the path of a converted file, "
            "or weights_family to torchvision"
        )
    url: str = models.get_model_weights(name)["IMAGENET1K_V1"].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        _fetch(url, path)
    published = re.search(r"-([0-9a-f]{8,})\.", path.name)
    digest = _sha256(path)
    if published and not digest.startswith(published[1]):
        raise WeightsError(
            f"{path} is damaged: its sha256 starts with {digest[:8]} instead of {published[1]}; "
            f"delete it and fetch {url} again"
        )
    return path


def _fetch(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _socket_timeout(_CONNECT_TIMEOUT_S):
            torch.hub.download_url_to_file(url, str(path), progress=False)
    except (URLError, OSError) as error:
        raise WeightsError(
            f"the ImageNet weights could not be fetched ({getattr(error, 'reason', error)}). Fetch {url} on a machine "
            f"with a network and put it at {path}, or set weights to the path of a file you have, or to 'none'"
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
