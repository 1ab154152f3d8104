"""A slow, independent reference for rankings, and data on which it is exact."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists


@dataclass
class Case:
    query: Descriptors
    gallery: Descriptors
    truth: GroundTruth


def _score(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    if metric == "hamming":
        return -sum(int(x ^ y).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True))
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float((a * b).sum()) if metric == "dot" else -float(((a - b) ** 2).sum())


def _rankings(case: Case) -> list[list[tuple[int, float]]]:
    """For each query the (image, score) of its whole ranking, by plain loops."""
    q, g = case.query, case.gallery
    out = []
    for i, image in enumerate(case.truth.query):
        mine = q.data[q.image == int(image)].numpy()
        junk = set(case.truth.junk[i].tolist())
        scored = []
        for other in case.truth.gallery.tolist():
            theirs = g.data[g.image == other].numpy()
            if other not in junk:
                scored.append((other, max(_score(a, b, q.metric) for a in mine for b in theirs)))
        out.append(sorted(scored, key=lambda pair: -pair[1]))  # sorted() is stable: ties keep gallery order
    return out


def _case(
    seed: int,
    *,
    metric: str = "dot",
    images: int = 24,
    classes: int = 4,
    dimension: int = 6,
    kind: str = "coarse",
    rows: int = 1,
    shared: bool = True,
    labels: bool = True,
) -> Case:
    """Descriptors whose float64 scores are exact in any order of addition, so that references need no tolerance.

    Kinds: ``coarse`` has few values (many exact ties), ``fine`` 21-bit numbers whose products float32 cannot hold,
    ``near`` copies of few vectors that differ in the last of 21 bits, ``equal`` the same vector everywhere.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rows + 1, images)
    image = np.repeat(np.arange(images), lengths)
    n = len(image)
    if metric == "hamming":
        data = torch.from_numpy(rng.integers(0, 256 if kind == "fine" else 4, (n, dimension), dtype=np.uint8))
    else:
        if kind == "coarse":
            values = rng.integers(-2, 3, (n, dimension)).astype(np.float64)
        elif kind == "fine":
            values = rng.integers(-(2**20), 2**20, (n, dimension)) / 2**20
        else:
            values = (rng.integers(-(2**20), 2**20, (3 if kind == "near" else 1, dimension)) / 2**20)[
                rng.integers(0, 3, n) if kind == "near" else np.zeros(n, int)
            ]
            if kind == "near":
                values = values + rng.integers(-1, 2, values.shape) / 2**20
        data = torch.from_numpy(values.astype(np.float32))
    order = torch.from_numpy(rng.permutation(n))  # as several processes might have described them
    descriptors = Descriptors(data[order], torch.from_numpy(image)[order], metric)  # type: ignore[arg-type]
    label = rng.integers(0, classes, images)
    if shared:
        asking = searched = rng.permutation(images)
    else:
        asking, searched = np.split(rng.permutation(images), [images // 3])
    truth = GroundTruth.from_labels(label, asking, searched, exclude_self=shared)
    if not labels:  # arbitrary lists: not symmetric, some queries without a positive, junk anywhere
        marks = rng.integers(0, 5, (len(asking), len(searched)))
        truth = GroundTruth(
            truth.query,
            truth.gallery,
            RaggedLists.from_lists([searched[row == 0] for row in marks]),
            RaggedLists.from_lists([searched[row == 1] for row in marks]),
        )
    return Case(descriptors, descriptors, truth)


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    return _case


@pytest.fixture(scope="session")
def slow_rankings() -> Callable[[Case], list[list[tuple[int, float]]]]:
    return _rankings
