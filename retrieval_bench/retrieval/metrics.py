"""Metrics as pure functions of ranks, one value a query; ``nan`` for a query that has no positive."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from retrieval_bench.retrieval import hamming_metrics
from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.hamming import DistanceCounts
from retrieval_bench.retrieval.ranks import RelevantRanks, TieOrder

FloatArray = npt.NDArray[np.float64]
Ties = Literal["index", "expected", "optimistic", "pessimistic"]


def recall_at_k(ranks: RelevantRanks, k: int) -> FloatArray:
    """Whether any positive is among the k nearest, 1 or 0 (metric learning's Recall@K)."""
    return _defined(ranks, (_sum(ranks, ranks.ranks.values < k) > 0).astype(np.float64))


def precision_at_k(ranks: RelevantRanks, k: int) -> FloatArray:
    """The share of positives among the k nearest; always divided by k, also where fewer images are ranked."""
    return _defined(ranks, _sum(ranks, ranks.ranks.values < k) / k)


def capped_precision_at_k(ranks: RelevantRanks, k: int) -> FloatArray:
    """The share of positives among the k nearest, or among those up to the last positive if they are fewer.

    The mP@k of Revisited Oxford and Paris: it differs from ``precision_at_k`` where every positive is found before k,
    so that a query with two positives can score 1 at ten.
    """
    last = np.zeros(len(ranks.ranks), np.int64)
    np.maximum.at(last, ranks.query, ranks.ranks.values + 1)
    return _defined(ranks, _sum(ranks, ranks.ranks.values < k) / np.clip(last, 1, k))


def r_precision(ranks: RelevantRanks) -> FloatArray:
    """The share of positives among the R nearest, R being the query's number of positives."""
    return _mean(ranks, _within(ranks, ranks.positives))


def average_precision(ranks: RelevantRanks) -> FloatArray:
    """The mean over all positives of the precision at their ranks: the area as rectangles, the whole gallery ranked."""
    return _mean(ranks, _precision(ranks))


def average_precision_oxford(ranks: RelevantRanks) -> FloatArray:
    """The area under precision over recall as trapezoids (compute_ap.cpp of the Oxford and Paris buildings)."""
    rank, j = ranks.ranks.values, ranks.order
    before = np.where(rank == 0, 1.0, j / np.maximum(rank, 1))
    return _mean(ranks, (before + _precision(ranks)) / 2)


def average_precision_at_r(ranks: RelevantRanks) -> FloatArray:
    """MAP@R: precision summed at the positives among the R nearest, divided by R (Musgrave et al., ECCV 2020)."""
    return _mean(ranks, _precision(ranks) * _within(ranks, ranks.positives))


def average_precision_at_k(ranks: RelevantRanks, k: int) -> FloatArray:
    """Precision summed at the positives among the k nearest, divided by min(k, R): neither by R nor by the hits."""
    found = _sum(ranks, _precision(ranks) * (ranks.ranks.values < k))
    return _defined(ranks, found / np.maximum(np.minimum(k, ranks.positives), 1))


def expected_average_precision(ranks: RelevantRanks) -> FloatArray:
    """``average_precision`` expected over all orders, equally likely, of images with equal scores.

    In a group of n images with r positives, N images and M positives above it, place i holds a positive with
    probability r / n, and of the i - 1 places before it in the group (i - 1)(r - 1) / (n - 1) are then expected to
    hold one, too.
    """
    total = np.zeros(len(ranks.ranks))
    query, above, relevant_above, images, relevant = ranks.tie_groups()
    # All places of all groups, end to end, a bounded number of them at a time.
    for part in _parts(images, 2**22):
        place = np.arange(images[part].sum()) - np.repeat(np.cumsum(images[part]) - images[part], images[part])
        n, r, m, above_group = (np.repeat(x[part], images[part]) for x in (images, relevant, relevant_above, above))
        hits = m + 1 + place * (r - 1) / np.maximum(n - 1, 1)
        gain = r / n * hits / (above_group + place + 1)
        total += np.bincount(np.repeat(query[part], images[part]), gain, len(total))
    return _defined(ranks, total / np.maximum(ranks.positives, 1))


@dataclass(frozen=True)
class MetricFunction:
    """A metric by its key.

    Attributes:
        key: For instance ``recall_at_10`` or ``map_optimistic``.
        k: The K in the key, or None.
        compute: From ranks to ``(q,)`` values.
        from_counts: From counts by Hamming distance to the same values, where they hold all that the metric reads.
        codes_only: Whether ``from_counts`` is the only way.
    """

    key: str
    k: int | None
    compute: Callable[[RelevantRanks], FloatArray]
    from_counts: Callable[[DistanceCounts], FloatArray] | None = None
    codes_only: bool = False

    @property
    def is_recall(self) -> bool:
        """Whether the ranks of each query's first positive are all it reads, ties in gallery order."""
        return re.fullmatch(r"recall_at_\d+(_index)?", self.key) is not None


_AT_K: dict[str, Callable[[RelevantRanks, int], FloatArray]] = {
    "recall": recall_at_k,
    "precision": precision_at_k,
    "capped_precision": capped_precision_at_k,
    "map": average_precision_at_k,
}
_OVER_ALL: dict[str, Callable[[RelevantRanks], FloatArray]] = {
    "map": average_precision,
    "map_oxford": average_precision_oxford,
    "map_at_r": average_precision_at_r,
    "r_precision": r_precision,
}
METRICS = (*(f"{name}_at_<k>" for name in _AT_K), *_OVER_ALL, "precision_within_<radius>")
_MAP_FROM_COUNTS: dict[str, Callable[[DistanceCounts], FloatArray]] = {
    "expected": hamming_metrics.expected_average_precision,
    "optimistic": hamming_metrics.optimistic_average_precision,
    "pessimistic": hamming_metrics.pessimistic_average_precision,
}


def metric(key: str, ties: Literal["index", "expected"] = "index") -> MetricFunction:
    """The metric of a key, optionally ending in ``_index``, ``_optimistic`` or ``_pessimistic`` for its order of ties.

    Args:
        key: One of ``METRICS``, ``<k>`` a whole number from 1, ``<radius>`` one from 0; what lies within a radius does
            not depend on the order of ties.
        ties: The order inside groups of equal scores where the key names none; there is an expected value for ``map``
            alone.

    Raises:
        ValueError: If there is no such metric, naming those that exist.
    """
    if within := re.fullmatch(r"precision_within_(\d+)", key):
        return _within_radius(key, int(within[1]))
    suffix = next((order for order in get_args(TieOrder) if key.endswith(f"_{order}")), None)
    name = key.removesuffix(f"_{suffix}") if suffix else key
    at_k = re.fullmatch(r"(\w+)_at_([1-9]\d*)", name)
    if at_k and at_k[1] in _AT_K:
        function, k = _AT_K[at_k[1]], int(at_k[2])
        plain: Callable[[RelevantRanks], FloatArray] = lambda ranks: function(ranks, k)  # noqa: E731
    elif name in _OVER_ALL:
        plain, k = _OVER_ALL[name], None
    else:
        raise ValueError(
            f"there is no metric {key!r}; known are {', '.join(METRICS)}, each also with "
            f"{', '.join('_' + order for order in get_args(TieOrder))} for its order of ties"
        )
    order: Ties = suffix or ties
    from_counts = _MAP_FROM_COUNTS.get(order) if name == "map" else None
    if order != "expected":
        return MetricFunction(key, k, lambda ranks: plain(ranks.with_ties(order)), from_counts)
    if name != "map":
        raise ValueError(
            f"{key} has no expected value over the order of ties; ask for {key}_index, {key}_optimistic or "
            f"{key}_pessimistic, or for a protocol with ties: index"
        )
    return MetricFunction(key, k, expected_average_precision, from_counts)


def mean(values: FloatArray) -> float:
    """The mean over queries that have a positive.

    Raises:
        ValueError: If none has.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise ValueError(f"none of the {len(values)} queries has a positive in the gallery: nothing to measure")
    return float(defined.mean())


def _within_radius(key: str, radius: int) -> MetricFunction:
    def no_distances(_: RelevantRanks) -> FloatArray:
        raise ValueError(f"{key} counts images by Hamming distance: it is defined for packed codes, not for ranks")

    def within(counts: DistanceCounts) -> FloatArray:
        return hamming_metrics.precision_within(counts, radius)

    return MetricFunction(key, None, no_distances, within, codes_only=True)


def _precision(ranks: RelevantRanks) -> FloatArray:
    return np.asarray((ranks.order + 1) / (ranks.ranks.values + 1), np.float64)


def _within(ranks: RelevantRanks, limit: IntArray) -> FloatArray:
    return (ranks.ranks.values < limit[ranks.query]).astype(np.float64)


def _sum(ranks: RelevantRanks, values: npt.NDArray[np.bool_] | FloatArray) -> FloatArray:
    return np.bincount(ranks.query, values, len(ranks.ranks)).astype(np.float64)


def _mean(ranks: RelevantRanks, values: FloatArray) -> FloatArray:
    return _defined(ranks, _sum(ranks, values) / np.maximum(ranks.positives, 1))


def _defined(ranks: RelevantRanks, values: FloatArray) -> FloatArray:
    return np.where(ranks.positives > 0, values, np.nan)


def _parts(lengths: IntArray, limit: int) -> list[slice]:
    """Ranges of groups with about ``limit`` places each."""
    edges = np.flatnonzero(np.diff(np.cumsum(lengths) // limit, prepend=0)).tolist()
    bounds = [0, *(edge + 1 for edge in edges if edge + 1 < len(lengths)), len(lengths)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds) if b > a]
