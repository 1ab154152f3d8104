"""Re-ranking by localisation: find the query in its first images, and compare it with what was found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.postprocessing.base import (
    PictureMap,
    PostProcessing,
    RetrievalState,
    Sources,
    Windows,
    similarity,
)
from retrieval_bench.retrieval.postprocessing.box_search import BoxPooling, BoxSearch, box_maxima, box_power_means

BoxMaxima = Literal["exact", "power10"]
_POOLING: dict[str, Callable[[Tensor], BoxPooling]] = {"exact": box_maxima, "power10": box_power_means}


class _Found(NamedTuple):
    """Some queries in one picture."""

    query: IntArray
    slot: IntArray
    data: Tensor
    boxes: Tensor


class LocalisationReranking(PostProcessing):
    """Put the first images in the order of the descriptors of the windows that look most like the query.

    In the map of each image that box is sought whose maxima are most similar to the maxima of the query's map, neither
    of them whitened, among boxes of the query's aspect (Tolias et al., ICLR 2016, section 4). The method then describes
    the box as if it were a picture, and the images are ranked by these descriptors; the others follow as before. Query
    expansion behind this step takes the windows' descriptors, and ranks the windows.

    Args:
        top: How many of each query's first images.
        step: Cells between the lines of the lattice on which boxes are tried.
        tolerance: By what factor the aspect of a box may differ from the query's.
        aml: ``exact`` maxima, or the paper's approximation ``power10`` of them (max-pooling localisation by
            integral images of tenth powers).

    Raises:
        OptionError: If one of them has none of its values.
    """

    def __init__(self, top: int = 1000, step: int = 3, tolerance: float = 1.1, aml: BoxMaxima = "exact") -> None:
        if min(top, step) < 1 or tolerance < 1:
            raise OptionError(
                f"localisation needs top, step and tolerance of at least 1, got {top}, {step} and {tolerance}"
            )
        if aml not in get_args(BoxMaxima):
            raise OptionError(f"aml cannot be {aml!r}; it is one of {', '.join(get_args(BoxMaxima))}")
        self.top, self.step, self.tolerance, self.aml = top, step, tolerance, aml

    @property
    def words(self) -> str:
        """What is done."""
        return f"re-ranking of the first {self.top:,} by localisation"

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Localise and rank.

        Raises:
            OptionError: If the method has no maps, or describes windows unlike pictures.
        """
        places = state.nearest(self.top, sources.device)
        maxima, aspect = self._queries(state, sources)
        wanted = _wanted(np.where(places < 0, -1, state.gallery.image.numpy()[places]))
        share = []
        for picture in sources.maps(np.array(sorted(wanted))):
            query, slot = wanted[picture.row]
            boxes = self._boxes(picture, maxima[query], aspect[query])
            data = state.whiten(sources.describe_windows(picture, boxes).float().cpu())
            size = torch.tensor([picture.cells.shape[2], picture.cells.shape[1]] * 2)
            share.append(_Found(query, slot, data, boxes.cpu() / size))
        windows = _windows(state, places, sources.gather(share))
        score = torch.stack([similarity(q, w) for q, w in zip(windows.query, windows.data, strict=True)])
        return replace(state, windows=windows).reordered(places, score)

    def _boxes(self, picture: PictureMap, query: Tensor, aspect: Tensor) -> Tensor:
        cells = picture.cells
        search = BoxSearch(_POOLING[self.aml](cells), cells.shape[1], cells.shape[2], self.step, self.tolerance)
        return search.best(query.to(cells.device), aspect.to(cells.device))[0]

    def _queries(self, state: RetrievalState, sources: Sources) -> tuple[Tensor, Tensor]:
        """``(q, C)`` unit maxima of the queries' maps, and ``(q,)`` their aspects."""
        seen = sources.gather(
            [(p.row, p.cells.amax((1, 2)).cpu(), p.aspect) for p in sources.maps(state.query.image.numpy())]
        )
        by_row = {row: (maxima, aspect) for row, maxima, aspect in seen}
        found = [by_row[row] for row in state.query.image.tolist()]
        maxima = torch.stack([maxima for maxima, _ in found])
        return normalize(maxima.float(), dim=1, eps=1e-12), torch.tensor([a for _, a in found], dtype=torch.float64)


def _wanted(images: IntArray) -> dict[int, tuple[IntArray, IntArray]]:
    """For each image that is among a query's first ``(q, k)``, -1 for none: these queries, and its rank for each."""
    query, slot = np.nonzero(images >= 0)
    image = images[query, slot]
    order = np.argsort(image, kind="stable")
    which, start = np.unique(image[order], return_index=True)
    groups = np.split(order, start[1:])
    return {int(row): (query[g], slot[g]) for row, g in zip(which, groups, strict=True)}


def _windows(state: RetrievalState, places: IntArray, found: list[_Found]) -> Windows:
    query = state.query.data
    data = torch.zeros(*places.shape, query.shape[1])
    boxes = torch.zeros(*places.shape, 4)
    for part in found:
        if part.data.shape[1] != query.shape[1]:
            raise OptionError(
                f"windows have descriptors of length {part.data.shape[1]}, but pictures of length {query.shape[1]}: "
                "re-ranking by localisation needs a method that describes both alike"
            )
        data[part.query, part.slot] = part.data
        boxes[part.query, part.slot] = part.boxes
    return Windows(query, data, boxes)
