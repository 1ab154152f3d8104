"""Oxford mAP in a gallery of Oxford105k's size against what a user would write, plain and with query expansion.

``python benchmarks/speed/landmarks.py [--quick]``. 55 queries search 105,134 unit vectors of 512 numbers, with 50
positives and 25 junk images each; the quick run searches 20,000. The peer is NumPy alone: one matrix product, a sort of
all scores, and the definition of average precision, a positive at a time.
"""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from _harness import measure, quick_flag, report

# isort: split
import numpy as np
import numpy.typing as npt
import torch

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.retrieval.postprocessing import QueryExpansion, postprocess
from retrieval_bench.retrieval.protocol import Protocol

_QUERIES, _POSITIVES, _JUNK, _EXPANSION = 55, 50, 25, 5
_CLOSE = (0.2, 0.06)  # mean and deviation of a positive's similarity: mAP about as a real network's

Vectors = npt.NDArray[np.float32]
Lists = list[IntArray]


def main() -> None:
    quick = quick_flag(__doc__ or "")
    images = 20_000 if quick else 105_134
    rng = np.random.default_rng(0)
    query, gallery = (unit(rng.standard_normal((n, 512), np.float32)) for n in (_QUERIES, images))
    near = rng.permutation(images)[: _QUERIES * (_POSITIVES + _JUNK)].reshape(_QUERIES, -1)
    for own, towards in zip(near, query, strict=True):
        close = rng.normal(*_CLOSE, (len(own), 1)).astype(np.float32)
        gallery[own] = unit(close * towards + np.sqrt(1 - close**2) * gallery[own])
    positives, junk = list(near[:, :_POSITIVES]), list(near[:, _POSITIVES:])
    name = "landmarks_quick" if quick else "landmarks_105k"
    compare(f"{name}_qe", query, gallery, positives, junk, _EXPANSION)
    compare(name, query, gallery, positives, junk, 0)


def compare(name: str, query: Vectors, gallery: Vectors, positives: Lists, junk: Lists, expansion: int) -> None:
    """Time both on one problem, and check that they agree.

    Args:
        name: Of the problem.
        query: ``(q, d)``.
        gallery: ``(g, d)``.
        positives: Of each query, places in the gallery.
        junk: The same.
        expansion: By how many of its first images a query is expanded; 0 for not at all.
    """
    found: dict[str, float] = {}
    contenders = {
        "ours": ours(found, query, gallery, positives, junk, expansion),
        "numpy": lambda: found.update(numpy=numpy_sort(query, gallery, positives, junk, expansion)),
    }
    measured = measure(contenders, repeat=3)
    sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value:.6f}" for key, value in found.items()) + "\n")
    if abs(found["ours"] - found["numpy"]) > 1e-4:  # the peer's sums are rounded, so that near scores may change places
        raise AssertionError(f"{name}: the two disagree: {found}")
    report(name, measured)


def ours(
    found: dict[str, float], query: Vectors, gallery: Vectors, positives: Lists, junk: Lists, expansion: int
) -> Callable[[], None]:
    """What an evaluation does once all pictures are described."""
    both = Descriptors(torch.from_numpy(np.concatenate([query, gallery])), torch.arange(len(query) + len(gallery)))
    asking, searched = np.split(both.image.numpy(), [len(query)])
    lists = (RaggedLists.from_lists([x + len(query) for x in kind]) for kind in (positives, junk))
    truth = GroundTruth(asking, searched, *lists)
    protocol = Protocol(dataset="oxford105k", name="synthetic", self_match="keep", metrics=("map_oxford",))
    sources: Any = SimpleNamespace(device=torch.device("cpu"))

    def run() -> None:
        if expansion:
            steps = [QueryExpansion(expansion)]
            state, _ = postprocess(steps, both, asking, searched, exclude_self=False, sources=sources)
            numbers = evaluate(state.query, state.gallery, truth, protocol, first=state.first)
        else:
            numbers = evaluate(both, both, truth, protocol)
        found["ours"] = numbers.metrics["map_oxford"]

    return run


def numpy_sort(query: Vectors, gallery: Vectors, positives: Lists, junk: Lists, expansion: int) -> float:
    """One product, a sort of everything, and a loop over positives."""
    order = np.argsort(-(gallery @ query.T), axis=0)
    if expansion:
        query = unit(query + gallery[order[:expansion]].sum(0))
        order = np.argsort(-(gallery @ query.T), axis=0)
    total = 0.0
    for ranking, relevant, ignored in zip(order.T, positives, junk, strict=True):
        ranking = ranking[~np.isin(ranking, ignored)]
        area = 0.0
        for before, rank in enumerate(np.flatnonzero(np.isin(ranking, relevant))):
            area += (before / rank if rank else 1.0) + (before + 1) / (rank + 1)
        total += area / (2 * len(relevant))
    return total / len(query)


def unit(x: Vectors) -> Vectors:
    """Rows of length one."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    main()
