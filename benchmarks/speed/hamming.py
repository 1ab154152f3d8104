"""Mean average precision by Hamming distance against what a user would pick otherwise, on codes of the true sizes.

``python benchmarks/speed/hamming.py [--quick]``. Stanford Dogs: 8,580 queries search 12,000 images with codes of 64
bits; and the same queries 100,000 images. The quick run asks a tenth of the queries. The others rank the whole gallery
and leave the order of ties to their sort; ours gives the expected value over all orders and both extremes.
"""

import sys
from collections.abc import Callable

from _harness import measure, quick_flag, report

# isort: split
import faiss
import numpy as np
import numpy.typing as npt
import torch

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.protocol import Protocol

_BITS = 64
_CLASSES = 120
_FLIPPED = 0.27  # of the bits of a class: mAP about as a trained network's
_WITH_INDEX = "ours and index order"
_METRICS = ("map", "map_optimistic", "map_pessimistic")

Codes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def main() -> None:
    queries = 858 if quick_flag(__doc__ or "") else 8_580
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2, (_CLASSES, _BITS), dtype=np.uint8)
    for name, images, repeat in (("hamming_dogs", 12_000, 3), ("hamming_100k", 100_000, 1)):
        labels = np.concatenate([np.arange(n) % _CLASSES for n in (queries, images)])
        bits = centres[labels] ^ (rng.random((len(labels), _BITS)) < _FLIPPED)
        compare(name + "_quick" * (queries < 8_580), np.packbits(bits, axis=1), labels, queries, repeat)


def compare(name: str, codes: Codes, labels: Labels, queries: int, repeat: int) -> None:
    """Time all contenders on one problem, after checking that they agree.

    Args:
        name: Of the problem.
        codes: ``(n, bytes)`` packed codes.
        labels: ``(n,)`` classes.
        queries: How many of the first images ask the others.
        repeat: Rounds of those who take less than a minute.
    """
    rows = np.arange(len(codes))
    truth = GroundTruth.from_labels(labels, rows[:queries], rows[queries:], exclude_self=False)
    query, gallery = (
        Descriptors(torch.from_numpy(codes[x]), torch.from_numpy(x), "hamming")
        for x in (rows[:queries], rows[queries:])
    )
    found: dict[str, dict[str, float]] = {}
    peers: dict[str, float] = {}

    def ours(key: str, *more: str) -> Callable[[], None]:
        protocol = Protocol(dataset=name, name="synthetic", ties="expected", metrics=(*_METRICS, *more))

        def run() -> None:
            found[key] = evaluate(query, gallery, truth, protocol).metrics

        return run

    def peer(key: str, mean_average_precision: Callable[[Codes, Labels, Codes, Labels], float]) -> Callable[[], None]:
        def run() -> None:
            peers[key] = mean_average_precision(codes[:queries], labels[:queries], codes[queries:], labels[queries:])

        return run

    contenders = {
        "ours": ours("ours"),
        _WITH_INDEX: ours("index", "map_index"),
        "numpy loop": peer("numpy", numpy_loop),
        "faiss IndexBinaryFlat": peer("faiss", faiss_binary_flat),
    }
    measured = measure(contenders, repeat, budget_s=60)
    sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value:.6f}" for key, value in found["index"].items()) + "\n")
    for key, value in peers.items():
        sys.stdout.write(f"{name}: {key} {value:.6f}\n")
        # Sorts may leave ties in any order, but none can leave the extremes.
        if not found["ours"]["map_pessimistic"] - 1e-9 <= value <= found["ours"]["map_optimistic"] + 1e-9:
            raise AssertionError(f"{key} finds a mAP of {value}, outside of {found['ours']}")
    more = measured.pop(_WITH_INDEX)
    sys.stdout.write(f"{name:24} {_WITH_INDEX:32} {more.median:9.3f} s {more.peak_mib:26.0f} MiB\n")
    report(name, measured)


def numpy_loop(query: Codes, query_labels: Labels, gallery: Codes, gallery_labels: Labels) -> float:
    """Codes of -1 and 1, relevance by products of one-hot labels; a query at a time, all distances and a full sort."""
    signs = [np.unpackbits(x, axis=1).astype(np.float32) * 2 - 1 for x in (query, gallery)]
    one_hot = [np.eye(_CLASSES, dtype=np.float32)[x] for x in (query_labels, gallery_labels)]
    total = 0.0
    for q, label in zip(signs[0], one_hot[0], strict=True):
        distance = 0.5 * (_BITS - signs[1] @ q)
        hits = (one_hot[1] @ label > 0)[np.argsort(distance)]
        rank = np.flatnonzero(hits) + 1
        total += float(np.mean(np.arange(1, len(rank) + 1) / rank))
    return total / len(query)


def faiss_binary_flat(query: Codes, query_labels: Labels, gallery: Codes, gallery_labels: Labels) -> float:
    """An exact binary index that returns the whole gallery, for a hundred queries at a time."""
    index = faiss.IndexBinaryFlat(_BITS)
    index.add(gallery)
    total = 0.0
    for start in range(0, len(query), 100):
        ids = index.search(query[start : start + 100], len(gallery))[1]
        for order, label in zip(ids, query_labels[start : start + 100], strict=True):
            rank = np.flatnonzero(gallery_labels[order] == label) + 1
            total += float(np.mean(np.arange(1, len(rank) + 1) / rank))
    return total / len(query)


if __name__ == "__main__":
    main()
