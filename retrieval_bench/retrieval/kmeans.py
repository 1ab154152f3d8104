"""K-means in blocks: no more memory than the points take, the same centroids for the same points and seed."""

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.retrieval.similarity import UNDERFLOW, rounding_share, unreduced_float32

_SCORES_AT_ONCE = 2**18  # of points with centroids: they stay in the cache
_ON_DEVICE = 2**24  # as many keep a device busy


def kmeans(x: Tensor, clusters: int, *, passes: int = 25, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from distinct points drawn at random.

    Args:
        x: ``(n, d)`` float32 points, n at least 1.
        clusters: K; where points are fewer, some centroids are equal and the later ones own nothing.
        passes: How often points are assigned and centroids moved.
        seed: Of the draw.

    Returns:
        ``(K, d)`` float32 centroids, and the ``(n,)`` int64 cluster of each point by ``assign``.
    """
    centroids, _ = lloyd(x, draw(x, clusters, torch.Generator().manual_seed(seed)), passes)
    return centroids, assign(x, centroids)


def draw(x: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """``(K, d)`` points of ``(n, d)`` at random, none twice before all were drawn."""
    order = torch.randperm(len(x), generator=generator)
    return x[order[torch.arange(clusters) % len(x)].to(x.device)]


def lloyd(x: Tensor, centroids: Tensor, passes: int) -> tuple[Tensor, Tensor]:
    """Assign points and move centroids to the mean of theirs, several times; the squared error never rises.

    A centroid that owns nothing moves to the point that is farthest from its own centroid.

    Args:
        x: ``(n, d)`` float32 points.
        centroids: ``(K, d)`` where to start.
        passes: How often, at least once.

    Returns:
        ``(K, d)`` the centroids, and ``(n,)`` the clusters whose means they are.
    """
    for _ in range(passes):
        owner = assign(x, centroids)
        centroids, owner = _reseed(x, centroids, owner)
        centroids = _means(x, owner, centroids)
    return centroids, owner


def assign(x: Tensor, centroids: Tensor) -> Tensor:
    """The nearest centroid of each point, of equally near ones the first.

    A matrix product in float32 screens; what its rounding leaves open is decided by float64 distances. The answer is
    therefore the same for any number of threads and any split of the points.

    Args:
        x: ``(n, d)`` float32 points.
        centroids: ``(K, d)`` float32 centroids.

    Returns:
        ``(n,)`` int64.
    """
    owner = torch.empty(len(x), dtype=torch.int64, device=x.device)
    half = centroids.double().square().sum(1).div(2)
    longest = float(half.max().mul(2).sqrt())
    share = rounding_share(x.shape[1], "float32")
    step = _rows_at_once(x, len(centroids))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        with unreduced_float32(x.device):
            score = torch.addmm(half.float(), block, centroids.T, alpha=-1)
        best = _argmin(score)
        least = score.gather(1, best[:, None])
        score.scatter_(1, best[:, None], torch.inf)
        norm = torch.linalg.vector_norm(block, dim=1, keepdim=True)
        wrong = share * longest * (norm + longest) + UNDERFLOW * (1 + norm + longest)
        limit = least + 3 * wrong  # both scores may be wrong; what is left makes up for the float32 here
        open_ = (score.amin(1, keepdim=True) <= limit).squeeze(1).nonzero().squeeze(1)
        if len(open_):
            candidates = (score[open_] <= limit[open_]).scatter_(1, best[open_, None], True)
            best[open_] = _decide(block[open_], centroids, candidates)
        owner[start : start + step] = best
    return owner


def squared_error(x: Tensor, centroids: Tensor, owner: Tensor) -> Tensor:
    """``(n,)`` float32 squared distance of each point from the centroid it belongs to."""
    error = torch.empty(len(x), dtype=torch.float32, device=x.device)
    step = _rows_at_once(x, x.shape[1])
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        error[part] = (x[part] - centroids[owner[part]]).square_().sum(1)
    return error


def _rows_at_once(x: Tensor, width: int) -> int:
    """How many points are worked on together, where each takes ``width`` numbers."""
    return max(1, (_SCORES_AT_ONCE if x.device.type == "cpu" else _ON_DEVICE) // width)


def _argmin(score: Tensor) -> Tensor:
    """``argmin(1)``; NumPy's, where it can be had, is ten times faster."""
    if score.device.type == "cpu":
        return torch.from_numpy(np.argmin(score.numpy(), axis=1))
    return score.argmin(1)


def _decide(x: Tensor, centroids: Tensor, candidate: Tensor) -> Tensor:
    """The nearest of each point's candidates, by float64 distances; of equally near ones the first."""
    point, centroid = candidate.nonzero(as_tuple=True)
    distance = torch.empty(len(point), dtype=torch.float64, device=x.device)
    for part in torch.split(torch.arange(len(point), device=x.device), _rows_at_once(x, x.shape[1])):
        distance[part] = (x[point[part]].double() - centroids[centroid[part]]).square_().sum(1)
    least = distance.new_full((len(x),), torch.inf).scatter_reduce_(0, point, distance, "amin")
    reached = distance == least[point]
    first = torch.full((len(x),), len(centroids), device=x.device)
    return first.scatter_reduce_(0, point[reached], centroid[reached], "amin")


def _reseed(x: Tensor, centroids: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Move each centroid that owns nothing to the farthest point, one after the other; points follow what is nearer."""
    empty = (owner.bincount(minlength=len(centroids)) == 0).nonzero().squeeze(1)
    if not len(empty):
        return centroids, owner
    centroids, owner = centroids.clone(), owner.clone()
    error = squared_error(x, centroids, owner)
    for cluster in empty:
        farthest = error.argmax()
        if error[farthest] == 0:
            break
        centroids[cluster] = x[farthest]
        distance = squared_error(x, centroids, cluster.expand(len(x)))
        nearer = distance < error
        owner[nearer], error[nearer] = cluster, distance[nearer]
    return centroids, owner


def _means(x: Tensor, owner: Tensor, centroids: Tensor) -> Tensor:
    """The mean of each cluster's points, summed in float64; a centroid that owns nothing stays.

    CUDA adds in any order, which may change the last bit of a float64 sum and hardly ever that of a float32 mean.
    """
    total = torch.zeros(centroids.shape, dtype=torch.float64, device=x.device)
    step = _rows_at_once(x, x.shape[1])
    for start in range(0, len(x), step):
        total.index_add_(0, owner[start : start + step], x[start : start + step].double())
    count = owner.bincount(minlength=len(centroids))[:, None]
    return torch.where(count > 0, total / count.clamp(min=1), centroids.double()).float()
