"""What all processes have, on every process or on the first one."""

from typing import Any, TypeVar

import torch.distributed as dist

from retrieval_bench.retrieval.descriptors import Descriptors

T = TypeVar("T")


def of_all_processes(own: T) -> list[T]:
    """What each process has, in the order of their ranks; all must ask together."""
    if _processes() == 1:
        return [own]
    everyone: list[Any] = [None] * _processes()
    dist.all_gather_object(everyone, own)
    return everyone


def on_first_process(own: T) -> list[T]:
    """What each process has, on the first one, and nothing on the others; all must give together."""
    if _processes() == 1:
        return [own]
    everyone: list[Any] | None = [None] * _processes() if dist.get_rank() == 0 else None
    dist.gather_object(own, everyone)
    return everyone or []


def gather(shards: list[Descriptors], *, everywhere: bool = True) -> list[Descriptors]:
    """The shards of all processes, those of a process in one; on every process, or on the first one alone."""
    if _processes() == 1:
        return shards
    merged = Descriptors.merge(shards) if shards else None
    collect = of_all_processes if everywhere else on_first_process
    return [shard for shard in collect(merged) if shard is not None]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
