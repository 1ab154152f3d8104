"""Fixtures shared by all tests."""

import os

# Before torch, faiss and scikit-learn are imported: their thread pools fight each other on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real annotation files, pictures and weights beside the checkout, if there are any."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder
