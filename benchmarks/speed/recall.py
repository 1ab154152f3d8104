"""Recall@K of a whole test set against what a user would pick otherwise, on synthetic data of the true sizes.

``python benchmarks/speed/recall.py [--quick]``. SOP: 60,502 images search each other; In-shop: 14,218 queries search
12,612 others. The quick run takes a quarter of the SOP images, and In-shop as it is.
"""

import sys
from collections.abc import Callable

from _harness import measure, quick_flag, report

# isort: split
import faiss
import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import Tensor

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.protocol import Protocol

_DIMENSION = 512
_SPREAD = 2.2  # of the images around their class: Recall@1 about as a trained network's


def unit_vectors(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Unit vectors scattered around one centre a class."""
    centres = torch.randn(int(labels.max()) + 1, _DIMENSION, generator=generator)
    noise = torch.randn(len(labels), _DIMENSION, generator=generator)
    return torch.nn.functional.normalize(centres[labels] + _SPREAD * noise)


def main() -> None:
    quick = quick_flag(__doc__ or "")
    generator = torch.Generator().manual_seed(0)
    images, classes = (15_000, 2_800) if quick else (60_502, 11_316)
    sop = torch.arange(images) * classes // images
    inshop = torch.cat([torch.arange(n) * 3_985 // n for n in (14_218, 12_612)])
    for name, labels, queries, ks in (
        ("recall_inshop", inshop, 14_218, (1, 10, 20, 30, 40, 50)),
        ("recall_sop" + "_quick" * quick, sop, None, (1, 10, 100, 1000)),
    ):
        compare(name, unit_vectors(labels, generator), labels, queries, ks)


def compare(name: str, x: Tensor, labels: Tensor, queries: int | None, ks: tuple[int, ...]) -> None:
    """Time all contenders on one problem, after checking that they agree.

    Args:
        name: Of the problem.
        x: ``(n, d)`` descriptors.
        labels: ``(n,)`` classes.
        queries: How many of the first images ask the others; None where all ask all others.
        ks: The K.
    """
    rows = np.arange(len(x))
    asking, searched = (rows, rows) if queries is None else (rows[:queries], rows[queries:])
    truth = GroundTruth.from_labels(labels.numpy(), asking, searched, exclude_self=queries is None)
    descriptors = Descriptors(x, torch.arange(len(x)))
    protocol = Protocol(dataset=name, name="synthetic", metrics=tuple(f"recall_at_{k}" for k in ks))
    found: dict[str, list[float]] = {}
    problem = (x[asking], labels[asking], x[searched], labels[searched], ks, queries is None)

    def ours() -> None:
        found["ours"] = list(evaluate(descriptors, descriptors, truth, protocol).metrics.values())

    def peer(key: str, nearest: Callable[..., list[float]]) -> Callable[[], None]:
        def run() -> None:
            found[key] = nearest(*problem)

        return run

    contenders = {
        "ours": ours,
        "torch blocks + top-k": peer("torch", torch_blocks),
        "faiss IndexFlatIP": peer("faiss", faiss_flat),
        "pytorch-metric-learning": peer("pml", pytorch_metric_learning),
    }
    measured = measure(contenders, budget_s=100)
    sys.stdout.write(f"{name}: " + ", ".join(f"R@{k} {r:.4f}" for k, r in zip(ks, found["ours"], strict=True)) + "\n")
    for key, values in found.items():
        # The peers' float32 scores may order the last bit differently; more would be a different definition.
        size = 1 if key == "pml" else len(ks)
        np.testing.assert_allclose(values[:size], found["ours"][:size], atol=2.5 / len(asking), err_msg=key)
    report(name, measured)


def torch_blocks(q: Tensor, ql: Tensor, g: Tensor, gl: Tensor, ks: tuple[int, ...], same: bool) -> list[float]:
    """Matrix product and top-k of 2,048 queries at a time."""
    hits = torch.zeros(len(ks))
    top = max(ks)
    for start in range(0, len(q), 2048):
        scores = q[start : start + 2048] @ g.T
        if same:
            own = torch.arange(len(scores))
            scores[own, own + start] = -torch.inf
        good = gl[scores.topk(top).indices] == ql[start : start + 2048, None]
        hits += torch.stack([good[:, :k].any(1).sum() for k in ks])
    return [float(h) / len(q) for h in hits]


def faiss_flat(q: Tensor, ql: Tensor, g: Tensor, gl: Tensor, ks: tuple[int, ...], same: bool) -> list[float]:
    """An exact index, searched for one image more where the query is among them."""
    index = faiss.IndexFlatIP(q.shape[1])
    index.add(g.numpy())
    ids = index.search(q.numpy(), max(ks) + same)[1]
    if same:
        own = ids == np.arange(len(q))[:, None]
        # A query that is not among its own nearest loses the last one instead.
        own[~own.any(1), -1] = True
        ids = ids[~own].reshape(len(q), -1)
    good = gl.numpy()[ids] == ql.numpy()[:, None]
    return [float(good[:, :k].any(1).mean()) for k in ks]


def pytorch_metric_learning(
    q: Tensor, ql: Tensor, g: Tensor, gl: Tensor, ks: tuple[int, ...], same: bool
) -> list[float]:
    """Its calculator has Recall@1 alone (as precision_at_1); given k it searches as far as the others do."""
    calculator = AccuracyCalculator(include=("precision_at_1",), k=max(ks))
    result = calculator.get_accuracy(q, ql, g, gl, ref_includes_query=same)
    return [float(result["precision_at_1"])]


if __name__ == "__main__":
    main()
