"""A method out of a checkpoint alone."""

import hashlib
from pathlib import Path
from typing import TypeVar

import torch

from retrieval_bench import methods
from retrieval_bench.bench.results import Checkpoint
from retrieval_bench.errors import RetrievalBenchError
from retrieval_bench.methods.base import RetrievalMethod, TrainedNetwork

LAST = Path("checkpoints") / "last.ckpt"
"""Where a run keeps its checkpoint, from its folder on."""

Network = TypeVar("Network", bound=TrainedNetwork)


class CheckpointError(RetrievalBenchError):
    """A file is no checkpoint of one of our methods."""


def load_method(path: Path) -> RetrievalMethod:
    """The method a checkpoint holds, in evaluation mode on the CPU.

    Args:
        path: A checkpoint that training wrote; only plain types and tensors are read from it.

    Raises:
        CheckpointError: If it is missing, unreadable, or of no method we know.
    """
    return load_network(path, RetrievalMethod)  # type: ignore[type-abstract]  # what is made is a subclass


def load_network(path: Path, kind: type[Network]) -> Network:
    """The network a checkpoint holds, in evaluation mode on the CPU.

    Args:
        path: A checkpoint that training wrote; only plain types and tensors are read from it.
        kind: What it must be: a class or one of its subclasses.

    Raises:
        CheckpointError: If it is missing, unreadable, or of nothing of that kind.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; runs keep theirs in RUN/checkpoints/last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        made = getattr(methods, checkpoint["method"])
        options = {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_")}
        # All weights are in the checkpoint: the files they came from need not be at hand any more.
        files = {k: v for k, v in (("weights", "none"), ("projection", None), ("attention", "none")) if k in options}
        method: TrainedNetwork = made(**{**options, **files})
        # Losses are not built again, and have nothing to do with what a method says of a picture.
        losses = {key: value for key, value in method.state_dict().items() if key.startswith("loss.")}
        network = {key: value for key, value in checkpoint["state_dict"].items() if not key.startswith("loss.")}
        method.load_state_dict({**losses, **network})
        method.on_load_checkpoint(checkpoint)
    except Exception as error:
        raise CheckpointError(f"{path} is no checkpoint of a method of this version ({error})") from error
    if not isinstance(method, kind):
        raise CheckpointError(f"{path} holds {type(method).__name__}, and {kind.__name__} is needed")
    return method.eval()


def checkpoint_facts(file: Path, folder: Path) -> Checkpoint:
    """What a result says of its checkpoint.

    Args:
        file: The checkpoint.
        folder: The run's.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Checkpoint(file=file.relative_to(folder).as_posix(), sha256=digest, bytes=file.stat().st_size)
