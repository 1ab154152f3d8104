"""Descriptors, and what post-processing may ask for, made up for tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.postprocessing import PictureMap, PostProcessing, References, RetrievalState, postprocess


class MadeUpSources:
    """Maps and references given beforehand; a window is described by its l2-normalised maxima."""

    device = torch.device("cpu")
    reference_name = "made up pictures"

    def __init__(self, maps: dict[int, Tensor] | None = None, references: References | None = None) -> None:
        self.pictures, self.given = maps or {}, references
        self.asked: list[int] = []

    def references(self) -> References:
        assert self.given is not None
        return self.given

    def projection(self, file: Path) -> tuple[Tensor, Tensor]:
        raise AssertionError(file)

    def maps(self, rows: np.ndarray) -> Iterator[PictureMap]:
        self.asked += rows.tolist()
        for row in rows.tolist():
            cells = self.pictures[row]
            yield PictureMap(row, cells, cells.shape[1] / cells.shape[2], torch.zeros(3, 1, 1))

    def describe_windows(self, picture: PictureMap, windows: Tensor) -> Tensor:
        parts = [picture.cells[:, y1:y2, x1:x2].amax((1, 2)) for x1, y1, x2, y2 in windows.tolist()]
        return normalize(torch.stack(parts), dim=1)

    def gather(self, share: list) -> list:
        return share


def unit(*vectors: list[float]) -> Tensor:
    return normalize(torch.tensor(vectors, dtype=torch.float32), dim=1)


def clustered(images: int, dim: int, classes: int, seed: int = 0, noise: float = 0.5) -> Tensor:
    """Unit vectors around a few centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim))
    data = centres[rng.integers(0, classes, images)] + noise * rng.normal(size=(images, dim))
    return normalize(torch.from_numpy(data).float(), dim=1)


def take(
    steps: list[PostProcessing],
    query: Tensor,
    gallery: Tensor | None = None,
    sources: MadeUpSources | None = None,
) -> tuple[RetrievalState, tuple[str, ...]]:
    """Take steps: queries are images of their own before the gallery's, or without a gallery search each other."""
    n = len(query)
    if gallery is None:
        descriptors, asking, searched = Descriptors(query, torch.arange(n)), np.arange(n), np.arange(n)
    else:
        both = torch.cat([query, gallery])
        descriptors = Descriptors(both, torch.arange(len(both)))
        asking, searched = np.arange(n), np.arange(n, len(both))
    return postprocess(
        steps, descriptors, asking, searched, exclude_self=gallery is None, sources=sources or MadeUpSources()
    )


def order(state: RetrievalState) -> np.ndarray:
    """The whole ranking as places in the gallery."""
    return state.nearest(len(state.gallery), torch.device("cpu"))
