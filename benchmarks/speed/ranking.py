"""The ten nearest images of each image, exactly, against what a user would pick otherwise, on synthetic data.

``python benchmarks/speed/ranking.py [--quick]``. 60,502 images of the size of SOP's test set search each other; the
quick run takes a quarter of them.
"""

from _harness import measure, quick_flag, report

# isort: split
import faiss
import numpy as np
import torch
from recall import unit_vectors
from torch import Tensor

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.search import search

_TOP = 10


def main() -> None:
    quick = quick_flag(__doc__ or "")
    images, classes = (15_000, 2_800) if quick else (60_502, 11_316)
    labels = torch.arange(images) * classes // images
    x = unit_vectors(labels, torch.Generator().manual_seed(0))
    rows = np.arange(images)
    truth = GroundTruth.from_labels(labels.numpy(), rows, rows, exclude_self=True)
    descriptors = Descriptors(x, torch.arange(images))
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = search(descriptors, descriptors, top=_TOP, truth=truth).score

    def blocks() -> None:
        found["torch"] = torch_blocks(x).numpy()

    def flat() -> None:
        found["faiss"] = faiss_flat(x)

    contenders = {"ours": ours, "torch blocks + top-k": blocks, "faiss IndexFlatIP": flat}
    measured = measure(contenders, budget_s=100)
    for key, scores in found.items():
        # The peers' scores are float32: images that differ in its last bits stand in any order.
        np.testing.assert_allclose(scores, found["ours"], atol=2e-6, err_msg=key)
    report("ranking_sop" + "_quick" * quick, measured)


def torch_blocks(x: Tensor) -> Tensor:
    """Matrix product and top-k of 2,048 queries at a time."""
    best = []
    for start in range(0, len(x), 2048):
        scores = x[start : start + 2048] @ x.T
        own = torch.arange(len(scores))
        scores[own, own + start] = -torch.inf
        best.append(scores.topk(_TOP).values)
    return torch.cat(best)


def faiss_flat(x: Tensor) -> np.ndarray:
    """An exact index, searched for one image more: the query itself."""
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x.numpy())
    scores, ids = index.search(x.numpy(), _TOP + 1)
    own = ids == np.arange(len(x))[:, None]
    # A query that is not among its own nearest loses the last one instead.
    own[~own.any(1), -1] = True
    return np.asarray(scores[~own].reshape(len(x), -1))


if __name__ == "__main__":
    main()
