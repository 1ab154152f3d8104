"""Is one setting better than another, or is it noise? Paired over queries, and over the seeds of both sides."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "noise"]

_EQUAL = 1e-12
"""Values closer than this differ by rounding alone."""
_FEW = 16
"""Drawing how often a kind of query comes takes as long as drawing about this many queries."""
_CELLS = 2**21
"""Cells of a block of resamples: 16 MiB, whatever the numbers of queries and resamples."""


@dataclass(frozen=True)
class Paired:
    """How two settings differ on the same queries.

    Attributes:
        difference: The mean of A less that of B, over queries and seeds.
        low: Where its confidence interval begins.
        high: Where it ends.
        p_value: Of the permutation test, two-sided.
        wins: Queries on which A is better in the mean over seeds.
        losses: Queries on which B is.
        ties: Queries on which neither is.
        queries: How many queries were counted: those where every seed of both sides has a value.
        verdict: ``noise`` if the interval contains 0, else whether A is ``better`` or ``worse`` than B.
        per_query: ``(q,)`` difference of the means over seeds; ``nan`` for a query that was not counted.
    """

    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    ties: int
    queries: int
    verdict: Verdict
    per_query: FloatArray


def paired(a: FloatArray, b: FloatArray, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0) -> Paired:
    """Compare two settings query by query.

    The interval and the p-value answer two questions. The interval (see ``interval``) is about both methods: other
    queries and other seeds might have come. The p-value is about these very networks: were A and B equally good, each
    query's difference, averaged over the seeds, could as well have had the other sign. Signs are flipped at random, and
    p is the share of flips that reach the observed difference, which itself counts as one of them: it is never 0. So
    p may be small within noise: these networks differ, and other seeds may not.

    Args:
        a: ``(seeds of A, q)`` values of the queries; ``nan`` where a query has none.
        b: ``(seeds of B, q)`` values of the same queries.
        resamples: How many resamples, and how many flips.
        confidence: Of the interval.
        seed: Of the random numbers: the same input gives the same output.

    Raises:
        ValueError: If the two sides are not of the same queries, or no query has a value on both.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"expected (seeds, queries) of the same queries, got {a.shape} and {b.shape}")
    counted = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    if not counted.any():
        raise ValueError(f"none of the {a.shape[1]} queries has a value on both sides")
    per_query = a.mean(axis=0) - b.mean(axis=0)
    per_query[np.abs(per_query) < _EQUAL] = 0.0
    per_query[~counted] = np.nan
    known = per_query[counted]
    low, high = interval(a, b, resamples=resamples, confidence=confidence, seed=seed)
    return Paired(
        difference=float(known.mean()),
        low=low,
        high=high,
        p_value=_p_value(known, resamples, np.random.default_rng((seed, 1))),
        wins=int((known > 0).sum()),
        losses=int((known < 0).sum()),
        ties=int((known == 0).sum()),
        queries=len(known),
        verdict=verdict(low, high),
        per_query=per_query,
    )


def verdict(low: float, high: float) -> Verdict:
    """The one rule: a difference whose interval contains 0 is noise."""
    return "noise" if low <= 0.0 <= high else "better" if low > 0 else "worse"


def interval(
    a: FloatArray, b: FloatArray, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The expanded percentile bootstrap interval of the mean of A less that of B.

    Each resample draws queries with replacement, the same for every seed of both sides, and seeds of each side.

    * Seeds are not paired: that A and B were started from the number 0 has them share nothing that must move both the
      same way. Where they do share something (a first phase of training), the interval is wider than it need be.
    * Of n seeds, n - 1 are drawn: drawing n would have the mean over seeds vary (n - 1)/n times as much as it does,
      which is a third less for three seeds (Rao and Wu, JASA 83, 1988).
    * A side with one seed is taken as it is: its spread over seeds is not known, and not in the interval.
    * The percentiles of few queries lie too close together; they are moved outward to where Student's t has them
      (Hesterberg, The American Statistician 69, 2015). With ten queries that makes 0.9 % and 99.1 % of 2.5 and 97.5 %.

    In simulations with 300 queries, intervals of 95 % held the true difference in 94 to 96 % of the cases where queries
    vary more than seeds, and where seeds vary by far the most in 94 % with five seeds a side, 91 % with three and 85 %
    with two: percentiles of so few do not reach far enough. BCa would not mend that, since its corrections come
    from the same few seeds.

    Args:
        a: As for ``paired``.
        b: As for ``paired``.
        resamples: How many resamples.
        confidence: Of the interval.
        seed: Of the random numbers.
    """
    counted = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    a, b = a[:, counted], b[:, counted]
    if a.mean() < b.mean():  # the answer must not depend on who is asked about first
        low, high = _interval(b, a, resamples, confidence, seed)
        return -high, -low
    return _interval(a, b, resamples, confidence, seed)


def _interval(a: FloatArray, b: FloatArray, resamples: int, confidence: float, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = _means_over_resampled_queries(np.concatenate([a, b]), resamples, rng)
    of_a = (means[:, : len(a)] * _seed_weights(len(a), resamples, rng)).sum(axis=1)
    of_b = (means[:, len(a) :] * _seed_weights(len(b), resamples, rng)).sum(axis=1)
    tail = _tail(confidence, a.shape[1])
    low, high = np.quantile(of_a - of_b, [tail, 1 - tail])
    return float(low), float(high)


def _tail(confidence: float, queries: int) -> float:
    """The share of resamples to leave out on each side."""
    from scipy.special import ndtr, stdtrit

    if queries < 2:
        return 0.0
    t = stdtrit(queries - 1, (1 + confidence) / 2)
    return float(ndtr(-t * math.sqrt(queries / (queries - 1))))


def _seed_weights(seeds: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """``(resamples, seeds)`` weights that sum to 1 in each resample."""
    drawn = max(1, seeds - 1)
    return rng.multinomial(drawn, np.full(seeds, 1 / seeds), size=resamples) / drawn


def _means_over_resampled_queries(values: FloatArray, resamples: int, rng: np.random.Generator) -> FloatArray:
    """``(resamples, seeds)`` means of ``(seeds, q)`` values over queries drawn with replacement.

    Queries with the same values are interchangeable, so what is drawn is how often each kind of query comes: recall,
    which is 0 or 1, has few kinds however many queries there are.
    """
    kinds, sizes = np.unique(values.T, axis=0, return_counts=True)
    queries, kind_of = int(sizes.sum()), np.repeat(np.arange(len(sizes)), sizes)
    means = []
    by_kind = _FEW * len(sizes) < queries
    for draws in _blocks(resamples, len(sizes) if by_kind else queries):
        if by_kind:
            counts = rng.multinomial(queries, sizes / queries, size=draws)
        else:
            drawn = kind_of[rng.integers(queries, size=(draws, queries))]
            drawn += len(sizes) * np.arange(draws)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=draws * len(sizes)).reshape(draws, len(sizes))
        means.append(counts.astype(np.float64) @ kinds / queries)
    return np.concatenate(means)


def _p_value(difference: FloatArray, resamples: int, rng: np.random.Generator) -> float:
    """The share of sign flips that reach the observed sum of ``(q,)`` differences."""
    size, times = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    few = _FEW * len(size) < times.sum()
    if not few:
        size = np.repeat(size, times)
    total, reached = float(np.abs(difference).sum()), 0
    observed = abs(float(difference.sum())) - _EQUAL * total
    for draws in _blocks(resamples, len(size)):
        if few:
            positive = rng.binomial(times, 0.5, size=(draws, len(size))).astype(np.float64)
        else:
            drawn = rng.integers(256, size=(draws, -(-len(size) // 8)), dtype=np.uint8)
            positive = np.unpackbits(drawn, axis=1, count=len(size)).astype(np.float64)
        reached += int((np.abs(2 * (positive @ size) - total) >= observed).sum())
    return (1 + reached) / (1 + resamples)


def _blocks(resamples: int, width: int) -> Iterator[int]:
    """How many resamples to draw at once, one number a block."""
    block = max(1, _CELLS // max(1, width))
    for start in range(0, resamples, block):
        yield min(block, resamples - start)
