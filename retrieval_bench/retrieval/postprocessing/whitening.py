"""Whitening as a step: of all descriptors alike, learned from reference pictures or read from a file."""

import zipfile
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.postprocessing.base import PostProcessing, RetrievalState, Sources, refuse_after_ranking
from retrieval_bench.retrieval.whitening import LearnedWhitening, PCAWhitening, Whitening


class WhiteningStep(PostProcessing):
    """Whiten the descriptors of queries and gallery.

    Args:
        dim: How many directions to keep; all by default.
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def __call__(self, state: RetrievalState, sources: Sources) -> RetrievalState:
        """Whiten.

        Raises:
            OptionError: If something has ranked already, or there is not what whitening can be learned from.
        """
        refuse_after_ranking(state, self.words)
        whitening = self._whitening(state, sources)
        query, gallery = (_whitened(side, whitening) for side in (state.query, state.gallery))
        return replace(state, query=query, gallery=gallery, whitened_by=(*state.whitened_by, whitening))

    @abstractmethod
    def _whitening(self, state: RetrievalState, sources: Sources) -> Whitening:
        """The map, learned or read."""


class WhitenByPCA(WhiteningStep):
    """Whiten all directions of the reference pictures' descriptors (Jegou and Chum, ECCV 2012)."""

    @property
    def words(self) -> str:
        """What is done."""
        return "PCA whitening" + _kept(self.dim)

    def learned_from(self, sources: Sources) -> str:
        """The reference pictures."""
        return sources.reference_name

    def _whitening(self, state: RetrievalState, sources: Sources) -> Whitening:
        data = state.whiten(sources.references().data)
        return PCAWhitening(data.shape[1], self.dim).fit(data)


class WhitenByPairs(WhiteningStep):
    """Whiten what differs in pairs of pictures that show the same (learned whitening; siaMAC, ECCV 2016, section 3.4).

    Args:
        dim: How many directions to keep; all by default.
        file: A whitening that was learned elsewhere: an ``.npz`` with ``mean (d,)`` and ``projection (out, d)``, or
            with siaMAC's names for them, ``m`` and ``P``; or one of its checkpoints. By default one is learned, each
            reference picture forming a pair with the next one of its label, the last with the first.
    """

    def __init__(self, dim: int | None = None, file: str | None = None) -> None:
        super().__init__(dim)
        self.file = Path(file) if file else None

    @property
    def words(self) -> str:
        """What is done."""
        return "learned whitening" + _kept(self.dim)

    def learned_from(self, sources: Sources) -> str:
        """The file, or the reference pictures."""
        return f"what {self.file.name} was" if self.file else f"pairs of one label among {sources.reference_name}"

    def _whitening(self, state: RetrievalState, sources: Sources) -> Whitening:
        if self.file is not None:
            weight, bias = _read_npz(self.file) if self.file.suffix == ".npz" else sources.projection(self.file)
            return LearnedWhitening(state.query.data.shape[1], self.dim or len(weight)).set_affine(weight, bias)
        references = sources.references()
        data = state.whiten(references.data)
        one, other = _pairs(references.label.numpy())
        if not len(one):
            raise OptionError(
                f"learned whitening needs pairs of pictures, but no two of {sources.reference_name} have the same "
                "label: name a file, or use WhitenByPCA"
            )
        return LearnedWhitening(data.shape[1], self.dim).fit(data[one], data[other], data)


def _pairs(label: IntArray) -> tuple[Tensor, Tensor]:
    """Each picture and the next of its label, the last and the first; none where there is no other."""
    one = np.argsort(label, kind="stable")
    one = one[label[one] >= 0]
    first = np.flatnonzero(np.diff(label[one], prepend=-1))
    last = np.append(first[1:], len(one)) - 1
    other = np.roll(one, -1)
    if len(first):
        other[last] = one[first]
    pair = one != other
    return torch.from_numpy(one[pair]), torch.from_numpy(other[pair])


def _read_npz(file: Path) -> tuple[Tensor, Tensor]:
    """Weight and bias of a whitening in an ``.npz``.

    Raises:
        OptionError: If it cannot be read, or holds something else.
    """
    expected = "expected an .npz with arrays mean (d,) and projection (out, d), or m and P"
    try:
        with np.load(file, allow_pickle=False) as content:
            mean, projection = next(
                (content[m], content[p]) for m, p in (("mean", "projection"), ("m", "P")) if {m, p} <= set(content)
            )
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile) as error:
        raise OptionError(f"{file} holds no whitening ({error or 'other arrays'}): {expected}") from error
    if projection.ndim != 2 or mean.size != projection.shape[1]:
        raise OptionError(f"{file}: mean of shape {mean.shape} and projection {projection.shape}: {expected}")
    weight = torch.from_numpy(projection).double()
    return weight, -weight @ torch.from_numpy(mean).double().reshape(-1)


def _whitened(side: Descriptors, whitening: Whitening) -> Descriptors:
    return replace(side, data=whitening(side.data), boxes=None)


def _kept(dim: int | None) -> str:
    return f" to {dim} directions" if dim else ""
