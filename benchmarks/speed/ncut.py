"""Normalised cuts of a map's cells against what a user would pick otherwise: milliseconds an image, and agreement.

``python benchmarks/speed/ncut.py [--quick]``. Maps of 24x32 = 768 and 32x43 = 1376 cells, with one thread and two, for
5 and 20 clusters from one decomposition and for 20 alone. The maps are synthetic: rectified smooth fields, brought to
four principal components; their spectra fall as slowly as those of networks' last maps. The adjusted Rand index
compares with the exact cut in float64. The textbook's matrix, which scikit-learn decomposes, lacks the diagonal of
ours; its labels are no approximation of ours, only its time compares. The quick run cuts three maps instead of ten.
"""

import sys
from collections.abc import Callable, Sequence

from _harness import measure, quick_flag, report

# isort: split
import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from retrieval_bench.nn.affinity import affinity_matrix, normalized_affinity
from retrieval_bench.nn.discretize import discretize
from retrieval_bench.nn.ncut import cut_affinity, normalized_cut
from retrieval_bench.training.memory import keep_freed_memory

_SHAPES = ((24, 32), (32, 43))
_CHANNELS = 256
_COMPONENTS = 4

Labels = list[Tensor]


def main() -> None:
    keep_freed_memory()
    images = 3 if quick_flag(__doc__ or "") else 10
    for height, width in _SHAPES:
        maps = [real_like_map(height, width, seed) for seed in range(images)]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with threadpool_limits(threads):
                for clusters in ((5, 20), (20,)):
                    compare(height * width, maps, clusters, threads)


def real_like_map(height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """``(1, N, 4)`` principal components of a map that is smooth and never negative, and their variances."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.zeros(_CHANNELS, height, width)
    for cells in (4, 8, 16):
        coarse = torch.randn(_CHANNELS, 1, height // cells + 2, width // cells + 2, generator=generator)
        fields += torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[:, 0]
    x = torch.relu(fields).flatten(1).T.double()
    x = x * (0.2 + fields[0].flatten().sigmoid()[:, None])
    x = x - x.mean(0)
    _, scale, directions = torch.linalg.svd(x, full_matrices=False)
    return (x @ directions[:_COMPONENTS].T).float()[None], scale[:_COMPONENTS] ** 2


def compare(nodes: int, maps: Sequence[tuple[Tensor, Tensor]], clusters: Sequence[int], threads: int) -> None:
    """Time all contenders on the same maps and print how their labels agree with the exact ones.

    Args:
        nodes: N.
        maps: ``(1, N, C)`` features and ``(C,)`` weights of each image.
        clusters: Numbers of clusters.
        threads: How many are in use.
    """
    name = f"ncut_{nodes}_k{'_'.join(map(str, clusters))}_{threads}t"
    exact = [normalized_cut(*x, clusters, solver="exact") for x in maps]
    found: dict[str, list[Labels]] = {}

    def contender(key: str, cut: Callable[[Tensor, Tensor, Sequence[int]], Labels]) -> Callable[[], None]:
        def run() -> None:
            found[key] = [cut(*x, clusters) for x in maps]

        return run

    contenders = {
        "ours": contender("ours", normalized_cut),
        "scipy eigsh float32": contender("scipy eigsh float32", scipy_eigsh),
        "torch.linalg.eigh float32": contender("torch.linalg.eigh float32", torch_eigh),
        "sklearn SpectralClustering": contender("sklearn SpectralClustering", sklearn_spectral),
    }
    contenders["ours"]()
    measured = measure(contenders, repeat=3, budget_s=20)
    for key, labels in found.items():
        agreement = [
            sum(adjusted_rand_score(a[i][0], b[i].flatten()) for a, b in zip(exact, labels, strict=True)) / len(maps)
            for i in range(len(clusters))
        ]
        text = ", ".join(f"K={k}: {index:.4f}" for k, index in zip(clusters, agreement, strict=True))
        sys.stdout.write(f"{name}: {key} {1000 * measured[key].median / len(maps):.2f} ms an image, index {text}\n")
        if key == "ours" and min(agreement) < 0.97:
            raise AssertionError(f"labels agree with the exact ones to {text} only")
    report(name, measured)


def torch_eigh(features: Tensor, weights: Tensor, clusters: Sequence[int]) -> Labels:
    """The same pipeline around a full decomposition in float32."""
    return cut_affinity(affinity_matrix(features[0], weights).float(), clusters)


def scipy_eigsh(features: Tensor, weights: Tensor, clusters: Sequence[int]) -> Labels:
    """The same pipeline around ARPACK in float32."""
    matrix, degree = normalized_affinity(affinity_matrix(features[0], weights).float())
    size = len(matrix)
    vectors = eigsh(matrix.numpy(), max(clusters), which="LA", tol=1e-4, v0=np.ones(size, np.float32))[1]
    wide = torch.from_numpy(vectors[:, ::-1].T.copy()) * degree.rsqrt()
    wide = (wide * (size**0.5 / wide.norm(dim=1, keepdim=True)))[None]
    first, live = torch.tensor([size // 2]), torch.ones(1, size, dtype=torch.bool)
    return [discretize(wide[:, :count], first, live)[0] for count in clusters]


def sklearn_spectral(features: Tensor, weights: Tensor, clusters: Sequence[int]) -> Labels:
    """Its defaults on the same affinities, one run for each number of clusters."""
    affinity = affinity_matrix(features[0], weights).numpy()
    return [
        torch.from_numpy(SpectralClustering(k, affinity="precomputed", random_state=0).fit_predict(affinity))
        for k in clusters
    ]


if __name__ == "__main__":
    main()
