"""Normalised cuts of a map's cells, as ClusterMAC clusters them (with the conventions of Shi's Ncut_9)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.affinity import (
    OFFSET,
    Affinity,
    Cells,
    exact_affinity,
    fast_matrix,
    normalized_affinity,
    spread_order,
)
from retrieval_bench.nn.discretize import discretize
from retrieval_bench.nn.spectral import Eigenpairs, exact_eigenpairs, lanczos_eigenpairs

InitRow = Literal["middle", "max_degree"]
Solver = Literal["filtered", "exact"]

# So few cells are solved exactly in less time.
_FEW_CELLS = 160


class _Rule(NamedTuple):
    clusters: Sequence[int]
    affinity: Affinity
    init_row: InitRow


def normalized_cut(
    features: Tensor,
    weights: Tensor | None,
    clusters: Sequence[int],
    *,
    mask: Tensor | None = None,
    affinity: Affinity = "gaussian",
    spatial: tuple[Tensor, float] | None = None,
    init_row: InitRow = "middle",
    solver: Solver = "filtered",
) -> list[Tensor]:
    """Cut each image's cells into clusters, for several numbers of clusters from one eigen-decomposition.

    An image gets the same labels alone and in any batch: on a CPU images are cut one by one, without their padding.

    Args:
        features: ``(B, N, C)`` features of the cells.
        weights: ``(C,)`` non-negative; each counts by its share of their sum, as variances do. None for the plain
            distance.
        clusters: How many clusters, each at least 1; an image of fewer different cells gets no more than
            these.
        mask: ``(B, N)`` bool, False for padding.
        affinity: ``gaussian`` exp(-(d / z)^2), or ``laplace`` exp(-2 d / z), ClusterMAC's equation 3 to the letter; z
            is a twentieth of the image's greatest distance.
        spatial: ``(B, N, 2)`` places of the cells and the scale s of a factor exp(-(distance / s)^2) (figure 6).
        init_row: The cell that the discretisation starts from: ``middle``, number floor(N / 2) (an option of Ncut_9,
            which draws it otherwise), or ``max_degree``, the one of greatest affinity to all, in whatever order.
        solver: ``filtered``, in float32, or ``exact``, in float64 and slow.

    Returns:
        For each number K ``(B, N)`` int64 labels in 0..K-1, not all of them used, and -1 for padding. Equal cells
        get one label; an image of nothing else is one cluster.

    Raises:
        OptionError: If an option has none of its values or a shape does not fit.
    """
    live = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device) if mask is None else mask
    _check(features, weights, clusters, live, affinity, spatial, init_row, solver)
    cells = Cells.of(features, weights, live, spatial)
    twin, different = cells.twins()
    labels = torch.full((len(clusters), *live.shape), -1, device=features.device)
    many: list[int] = []
    for i, (count, distinct) in enumerate(zip(live.sum(1).tolist(), different.tolist(), strict=True)):
        rule = _Rule([min(k, distinct) for k in clusters], affinity, init_row)
        enough = count >= max(_FEW_CELLS, 8 * max(clusters)) and distinct >= max(clusters)
        filtered = solver == "filtered" and enough
        if distinct <= 1:
            labels[:, i, live[i]] = 0
        elif filtered and features.is_cuda:
            many.append(i)
        else:
            cut = _filtered_cut if filtered else _exact_cut
            labels[:, i, live[i]] = cut(cells.without_padding(i), rule)[:, 0]
    if many:
        batch = cells.images(many)
        cut_labels = _filtered_cut(batch, _Rule(clusters, affinity, init_row))
        labels[:, many] = torch.where(batch.live, cut_labels, -1)
    return list(labels.gather(2, twin.expand_as(labels)))


def cut_affinity(affinity: Tensor, clusters: Sequence[int], *, init_row: InitRow = "middle") -> list[Tensor]:
    """Cut the nodes of one graph exactly.

    Args:
        affinity: ``(N, N)`` symmetric, not negative.
        clusters: Numbers of clusters.
        init_row: See ``normalized_cut``.

    Returns:
        For each number ``(N,)`` labels.
    """
    matrix, degree = normalized_affinity(affinity)
    vectors = exact_eigenpairs(matrix[None], min(max(clusters), len(matrix))).vectors
    live = torch.ones_like(degree[None], dtype=torch.bool)
    first = degree.argmax()[None] if init_row == "max_degree" else torch.tensor([len(matrix) // 2]).to(degree.device)
    return list(_labels(vectors, degree[None], live, first, clusters)[:, 0])


def _exact_cut(cells: Cells, rule: _Rule) -> Tensor:
    """``(numbers of clusters, 1, N)`` labels of one image without padding."""
    affinity = exact_affinity(cells, rule.affinity)[0]
    return torch.stack(cut_affinity(affinity, rule.clusters, init_row=rule.init_row))[:, None]


def _filtered_cut(cells: Cells, rule: _Rule) -> Tensor:
    """``(numbers of clusters, B, N)`` labels; those of padding mean nothing."""
    order = spread_order(cells)
    ordered = cells.ordered(order)
    live = ordered.live
    matrix, degree = fast_matrix(ordered, rule.affinity)
    isolated = live & (degree == 1 + 2 * OFFSET)
    pairs = lanczos_eigenpairs(matrix, live & ~isolated, max(rule.clusters))
    vectors = _with_isolated(pairs, isolated)
    if rule.init_row == "max_degree":
        first = torch.where(live, degree, 0).argmax(1)
    else:
        middle = cells.live.sum(1, keepdim=True) // 2
        nodes = cells.live.gather(1, order) * cells.live.cumsum(1).gather(1, order)
        first = (nodes == middle + 1).int().argmax(1)
    labels = _labels(vectors, degree, live, first, rule.clusters)
    labels = torch.empty_like(labels).scatter_(2, order.expand_as(labels), labels)
    for i in torch.nonzero(~pairs.converged).flatten().tolist():
        labels[:, i, cells.live[i]] = _exact_cut(cells.without_padding(i), rule)[:, 0]
    return labels


def _with_isolated(pairs: Eigenpairs, isolated: Tensor) -> Tensor:
    """The leading eigenvectors when isolated cells, each an eigenvector of the same value by itself, take part."""
    vectors = pairs.vectors.clone()
    count = vectors.shape[1]
    for i in torch.nonzero(isolated.any(1)).flatten().tolist():
        own = torch.nn.functional.one_hot(torch.nonzero(isolated[i])[:count, 0], isolated.shape[1]).to(vectors)
        values = torch.cat([pairs.values[i], torch.full_like(own[:, 0], (1 + OFFSET) / (1 + 2 * OFFSET))])
        vectors[i] = torch.cat([vectors[i], own])[values.argsort(descending=True, stable=True)[:count]]
    return vectors


def _labels(vectors: Tensor, degree: Tensor, live: Tensor, first: Tensor, clusters: Sequence[int]) -> Tensor:
    """``(numbers of clusters, B, N)`` labels from the eigenvectors ``(B, K, N)`` of P, the first for each number."""
    vectors = vectors * degree.rsqrt()[:, None]
    vectors = vectors * (live.sum(1).sqrt()[:, None] / vectors.norm(dim=2).clamp_min(1e-30))[..., None]
    return torch.stack([discretize(vectors[:, :count], first, live) for count in clusters])


def _check(
    features: Tensor,
    weights: Tensor | None,
    clusters: Sequence[int],
    live: Tensor,
    affinity: str,
    spatial: tuple[Tensor, float] | None,
    init_row: str,
    solver: str,
) -> None:
    for name, value, known in (
        ("affinity", affinity, Affinity),
        ("init_row", init_row, InitRow),
        ("solver", solver, Solver),
    ):
        if value not in get_args(known):
            raise OptionError(f"unknown {name} {value!r}; known are {', '.join(get_args(known))}")
    if not clusters or min(clusters) < 1:
        raise OptionError(f"a cut needs numbers of clusters of at least 1, not {list(clusters)}")
    if live.shape != features.shape[:2] or features.ndim != 3:
        raise OptionError(f"features {tuple(features.shape)} and mask {tuple(live.shape)} must be (B, N, C) and (B, N)")
    if weights is not None and (weights.shape != features.shape[2:] or bool((weights < 0).any()) or not weights.any()):
        raise OptionError(
            f"weights must be {features.shape[2]} numbers of at least 0, one of them more, for each feature"
        )
    if spatial is not None and (spatial[0].shape != (*features.shape[:2], 2) or spatial[1] <= 0):
        raise OptionError("places must be (B, N, 2), one for each cell, and their scale greater than 0")
