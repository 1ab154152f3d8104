"""What a method draws of itself when a run ends, over pictures that are the same for every method."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.methods import ClusterMAC, RetrievalMethod
from retrieval_bench.pictures.clusters import cluster_sheet
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.training.attended import attention_drawn
from retrieval_bench.training.inspection import clustered

if TYPE_CHECKING:
    from PIL import Image

PICTURES_FOLDER = "pictures"
_SHOWN = 4


def sample_rows(data: RetrievalDataModule) -> IntArray:
    """Rows of a few pictures from all over the gallery, always the same."""
    rows = data.database_rows
    return rows[np.unique(np.arange(_SHOWN) * len(rows) // _SHOWN)]


def drawn(method: RetrievalMethod, files: Sequence[Path]) -> dict[str, "Image.Image"]:
    """The sheets that a method can draw of itself, by their names; none for most methods.

    Args:
        method: In evaluation mode.
        files: Whole pictures.
    """
    clusters = {"clusters": cluster_sheet(clustered(method, files))} if isinstance(method, ClusterMAC) else {}
    return {**attention_drawn(method, files), **clusters}


def draw_pictures(method: RetrievalMethod, data: RetrievalDataModule, folder: Path) -> None:
    """Write a PNG of each sheet.

    Args:
        method: In evaluation mode.
        data: What it was evaluated on.
        folder: Where to write; it is made where there is something to draw.
    """
    files = [data.dataset.image_path(row) for row in sample_rows(data).tolist()]
    for name, sheet in drawn(method, files).items():
        folder.mkdir(exist_ok=True)
        partial = folder / f"{name}.png.part"
        try:
            sheet.save(partial, format="PNG")
            partial.replace(folder / f"{name}.png")
        finally:
            partial.unlink(missing_ok=True)
