"""A part of a miniature, for methods that are quick to fit."""

from pathlib import Path

import pytest

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.subset import cut_subset


@pytest.fixture(scope="session")
def birds(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures, half of them to train on."""
    folder = tmp_path_factory.mktemp("birds") / "cub"
    return cut_subset(dataset_class("cub")(miniature), folder, classes=6, images_per_class=4)
