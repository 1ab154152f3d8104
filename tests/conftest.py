"""Fixtures shared by all tests."""

import os

# Before torch, faiss and scikit-learn are imported: their thread pools fight each other on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.training.memory import keep_freed_memory

keep_freed_memory()
# Autograd decides at its first use whether it may be forked afterwards, which run_in_two_processes does; exporting a
# network makes it decide against.
torch.ones(1, requires_grad=True).backward()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real annotation files, pictures and weights beside the checkout, if there are any."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Miniatures by the names of their data sets, side by side, each drawn once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("drawn")
    return cache(lambda name: synthesize(name, folder / name))


@pytest.fixture(scope="session")
def miniature(drawn: Callable[[str], Path]) -> Path:
    """The miniature of CUB: 240 pictures, half of them to train on."""
    return drawn("cub")


@pytest.fixture
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """Run ``work(*args)`` in two processes joined by gloo: ``two_processes(work, *args)`` gives both results."""
    from processes import run_in_two_processes

    def run(work: Callable[..., Any], *args: Any, timeout: float = 90) -> list[Any]:
        meeting_point = tmp_path_factory.mktemp("gloo") / "store"
        return run_in_two_processes(work, *args, meeting_point=meeting_point, timeout=timeout)

    return run
