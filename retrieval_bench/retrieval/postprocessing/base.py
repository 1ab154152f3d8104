"""What steps between descriptors and scores are given, what they may ask for, and how they follow one another."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.search import search
from retrieval_bench.retrieval.whitening import Whitening

T = TypeVar("T")
_UNIT = 1e-2  # lengths of vectors that were normalised in bfloat16 differ by less


@dataclass(frozen=True)
class Windows:
    """The parts of each query's first images in which the query was found, in the order of those images.

    Attributes:
        query: ``(q, d)`` what the windows are compared with.
        data: ``(q, k, d)`` unit descriptors of the windows; zero where there are fewer images.
        boxes: ``(q, k, 4)`` float32 x1, y1, x2, y2 as shares of the picture's width and height: times its size, pixels.
    """

    query: Tensor
    data: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class RetrievalState:
    """What is known between two steps: descriptors, and, once something has ranked, the first images of each query.

    Attributes:
        query: One unit vector a query, compared by dot product, in the order of the queries.
        gallery: The same of the images that are searched, in gallery order.
        own: ``(q,)`` the place in the gallery of the query's own image where the protocol excludes it, or -1.
        first: ``(q, k)`` places in the gallery of the first images, nearest first, -1 behind the last; the others
            follow as their descriptors compare. None as long as descriptors decide alone.
        windows: Where the query was found in as many of the first images, if something has looked.
        whitened_by: The maps that descriptors went through since the method made them.
    """

    query: Descriptors
    gallery: Descriptors
    own: IntArray
    first: IntArray | None = None
    windows: Windows | None = None
    whitened_by: tuple[Whitening, ...] = ()

    def nearest(self, top: int, device: torch.device) -> IntArray:
        """``(q, top or fewer)`` places of the first images, never the query's own; -1 behind the last.

        Args:
            top: How many are wanted.
            device: Where to compare descriptors.
        """
        top = min(top, len(self.gallery))
        if self.first is not None and self.first.shape[1] >= top:
            return self.first[:, :top]
        found, _ = find_nearest(self.query.data, self.gallery.data, self.own, top, device)
        if self.first is None:
            return found
        joined = np.full_like(found, -1)
        for i, (head, others) in enumerate(zip(self.first, found, strict=True)):
            head = head[head >= 0]
            places = np.concatenate([head, others[~np.isin(others, head)]])[:top]
            joined[i, : len(places)] = places
        return joined

    def whiten(self, vectors: Tensor) -> Tensor:
        """Take descriptors that the method has made to where those of this state are."""
        for whitening in self.whitened_by:
            vectors = whitening(vectors)
        return vectors

    def reordered(self, places: IntArray, score: Tensor) -> "RetrievalState":
        """The state with its first images in the order of a score; equal ones stay as they are.

        Args:
            places: ``(q, k)`` the first images as they stand now, -1 behind the last.
            score: ``(q, k)`` greater is nearer.
        """
        score = score.masked_fill(torch.from_numpy(places < 0), -torch.inf)
        order = torch.argsort(score, dim=1, descending=True, stable=True)
        places = np.take_along_axis(places, order.numpy(), 1)
        behind = None if self.first is None else self.first[:, places.shape[1] :]
        windows = self.windows
        if windows is not None:
            data, boxes = (x.gather(1, order[..., None].expand_as(x)) for x in (windows.data, windows.boxes))
            windows = replace(windows, data=data, boxes=boxes)
        first = places if behind is None else np.concatenate([places, behind], 1)
        return replace(self, first=first, windows=windows)


@dataclass(frozen=True)
class References:
    """Pictures that statistics are learned from.

    Attributes:
        data: ``(n, d)`` descriptors as the method makes them.
        label: ``(n,)`` what they show, -1 where that is not known.
    """

    data: Tensor
    label: Tensor


@dataclass(frozen=True)
class PictureMap:
    """What the network makes of the part of a picture that counts.

    Attributes:
        row: Of the sample table.
        cells: ``(C, h, w)``, zero outside of the part.
        aspect: Height over width of the part, in pixels.
        pixels: ``(3, H, W)`` the network's input.
    """

    row: int
    cells: Tensor
    aspect: float
    pixels: Tensor


class Sources(Protocol):
    """What a step may ask for besides the state; nothing here tells which images should be found.

    Several processes take all steps side by side; each describes its share of the pictures, and gets what all found.
    """

    @property
    def device(self) -> torch.device:
        """Where to compare descriptors."""

    @property
    def reference_name(self) -> str:
        """What ``references`` are, in words."""

    def references(self) -> References:
        """Descriptors of the datamodule's reference pictures."""

    def projection(self, file: Path) -> tuple[Tensor, Tensor]:
        """A published map from x to ``weight @ x + bias``."""

    def maps(self, rows: IntArray) -> Iterator[PictureMap]:
        """Maps of pictures, each once over all processes; raises OptionError for a method without them."""

    def describe_windows(self, picture: PictureMap, windows: Tensor) -> Tensor:
        """``(n, d)`` the method's descriptors of parts of a picture, ``(n, 4)`` x1, y1, x2, y2 in cells, ends open."""

    def gather(self, share: list[T]) -> list[T]:
        """What all processes have, on every process."""


class PostProcessing(ABC):
    """One step from a state to the next, the same whatever method made the descriptors."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What is done, for the notes of a result."""

    def learned_from(self, sources: Sources) -> str:
        """Which data the step learned from, for the notes of a result."""
        del sources
        return "no data"

    @abstractmethod
    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Take the step."""


def postprocess(
    steps: Sequence[PostProcessing],
    descriptors: Descriptors,
    query: IntArray,
    gallery: IntArray,
    *,
    exclude_self: bool,
    sources: Sources,
) -> tuple[RetrievalState, tuple[str, ...]]:
    """Take steps one after the other.

    Args:
        steps: What to do.
        descriptors: Of at least the images that ask and are searched.
        query: ``(q,)`` which images ask.
        gallery: ``(g,)`` which are searched.
        exclude_self: Whether a query's own image is not to be found.
        sources: What steps may ask for.

    Returns:
        The last state, and a note for each step.

    Raises:
        OptionError: If the descriptors are not one unit vector an image, compared by dot product, or a step does not
            fit the method, the data, or the steps before it.
    """
    asking, searched = descriptors.select(query), descriptors.select(gallery)
    _refuse_what_is_no_unit_vector(descriptors, len(asking) + len(searched) > len(query) + len(gallery))
    state = RetrievalState(asking, searched, _own(query, gallery) if exclude_self else np.full(len(query), -1))
    notes = []
    for step in steps:
        state = step(state, sources)
        notes.append(f"{step.words}, learned from {step.learned_from(sources)}")
    return state, tuple(notes)


def _refuse_what_is_no_unit_vector(descriptors: Descriptors, several: bool) -> None:
    wrong = ""
    if descriptors.metric != "dot":
        wrong = f"are compared by {descriptors.metric} distance"
    elif several:
        wrong = "are several an image"
    else:
        length = descriptors.data.norm(dim=1)
        # A zero vector is what is left of a picture without any activation.
        if ((length - 1).abs() > _UNIT).logical_and(length > 0).any():
            wrong = f"have lengths from {length.min():.3g} to {length.max():.3g}"
    if wrong:
        raise OptionError(
            "post-processing needs one unit vector an image, compared by dot product, but this method's descriptors "
            f"{wrong}: leave --trainer.postprocessing empty"
        )


def _own(query: IntArray, gallery: IntArray) -> IntArray:
    order = np.argsort(gallery, kind="stable")
    at = np.minimum(np.searchsorted(gallery[order], query), max(0, len(gallery) - 1))
    place: IntArray = order[at]
    return np.where(gallery[place] == query, place, -1)


def refuse_after_ranking(state: RetrievalState, what: str) -> None:
    """Refuse to change descriptors that something has ranked by.

    Raises:
        OptionError: If something has ranked already.
    """
    if state.first is not None:
        raise OptionError(f"{what} changes descriptors, so it must stand before the steps of postprocessing that rank")


def find_nearest(
    query: Tensor, gallery: Tensor, own: IntArray, top: int, device: torch.device
) -> tuple[IntArray, FloatArray]:
    """Each query's nearest images by dot product, exactly; equal ones in gallery order.

    Args:
        query: ``(q, d)``.
        gallery: ``(g, d)``.
        own: ``(q,)`` a place in the gallery that is left out, or -1.
        top: How many.
        device: Where to compare.

    Returns:
        ``(q, top)`` places, -1 where there are fewer, and similarities.
    """
    asking, searched = np.arange(len(query)), np.arange(len(gallery))
    nobody = RaggedLists(np.empty(0, np.int64), np.zeros(len(query) + 1, np.int64))
    itself = RaggedLists(own[own >= 0], np.concatenate([[0], np.cumsum(own >= 0)]))
    truth = GroundTruth(asking, searched, nobody, itself)
    sides = (Descriptors(x, torch.arange(len(x))) for x in (query, gallery))
    found = search(*sides, top=top, truth=truth, device=device)
    return found.image, found.score


def similarity(query: Tensor, vectors: Tensor) -> Tensor:
    """``(..., k)`` float64 dot products of vectors ``(..., d)`` with the ``k`` of each in ``(..., k, d)``.

    Every product is added up by itself, so that equal vectors score alike wherever they stand.
    """
    return (vectors.double() * query.double()[..., None, :]).sum(-1)
