"""Metrics as pure functions of counts by Hamming distance, exact whatever the order of ties; no ranking is made.

A group of equal distances contributes sums of precisions, and these have closed forms in differences of harmonic
numbers: nothing is expanded to the length of the gallery. One value a query; ``nan`` for one that has no positive.
"""

import numpy as np
import numpy.typing as npt

from retrieval_bench.retrieval.ground_truth import IntArray
from retrieval_bench.retrieval.hamming import DistanceCounts

FloatArray = npt.NDArray[np.float64]

_EXACT_TO = 256  # from here on the series of the harmonic numbers is as exact as float64
_HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _EXACT_TO + 1))])


def expected_average_precision(counts: DistanceCounts) -> FloatArray:
    """Average precision expected over all orders, equally likely, of images at equal distances.

    Place i of a group of n images with r positives, N images and M positives nearer, holds a positive with probability
    r / n, and (M + 1 + (i - 1)(r - 1) / (n - 1)) / (N + i) is its precision then; this is summed over i.
    """
    n, r = counts.total, counts.relevant
    nearer, positives = np.cumsum(n, 1) - n, np.cumsum(r, 1) - r
    slope = (r - 1) / np.maximum(n - 1, 1)
    precision = (positives + 1 - slope * (nearer + 1)) * _harmonic_sum(nearer, n) + slope * n
    return _mean(counts, r / np.maximum(n, 1) * precision)


def optimistic_average_precision(counts: DistanceCounts) -> FloatArray:
    """Average precision with the positives first among images at equal distances."""
    return _mean(counts, _run_of_positives(counts, np.cumsum(counts.total, 1) - counts.total))


def pessimistic_average_precision(counts: DistanceCounts) -> FloatArray:
    """Average precision with the positives last among images at equal distances."""
    return _mean(counts, _run_of_positives(counts, np.cumsum(counts.total, 1) - counts.relevant))


def precision_within(counts: DistanceCounts, radius: int) -> FloatArray:
    """The share of positives among the images within a Hamming radius; 0 where there are none within it.

    A query that finds nothing has failed, and leaving it out would reward codes that find few images; so hash look-up
    is counted in the field, too.

    Args:
        counts: By distance.
        radius: Distances up to and with this one; 0 is the query's own bucket.

    Raises:
        ValueError: If the radius is negative.
    """
    within = slice(_last(radius) + 1)
    found = counts.total[:, within].sum(1)
    return _defined(counts, counts.relevant[:, within].sum(1) / np.maximum(found, 1))


def recall_within(counts: DistanceCounts, radius: int) -> FloatArray:
    """The share of a query's positives that lie within a Hamming radius.

    Raises:
        ValueError: If the radius is negative.
    """
    found = counts.relevant[:, : _last(radius) + 1].sum(1)
    return _defined(counts, found / np.maximum(counts.positives, 1))


def precision_recall_curve(counts: DistanceCounts) -> tuple[FloatArray, FloatArray]:
    """Mean precision and mean recall within every radius, over the queries that have a positive.

    Returns:
        ``(bits + 1,)`` the mean of ``precision_within`` each radius, and that of ``recall_within``.

    Raises:
        ValueError: If no query has a positive.
    """
    asking = counts.positives > 0
    if not asking.any():
        raise ValueError(f"none of the {len(asking)} queries has a positive in the gallery: there is no curve")
    found, relevant = (np.cumsum(x[asking], 1) for x in (counts.total, counts.relevant))
    precision = (relevant / np.maximum(found, 1)).mean(0)
    recall = (relevant / relevant[:, -1:]).mean(0)
    return precision, recall


def _run_of_positives(counts: DistanceCounts, before: IntArray) -> FloatArray:
    """The sum of precisions of each group's r positives, side by side after ``before`` images."""
    r = counts.relevant
    # (M + j) / (before + j) is 1 less (before - M) / (before + j); summed over j = 1..r.
    negatives = before - (np.cumsum(r, 1) - r)
    return np.asarray(r - negatives * _harmonic_sum(before, r), np.float64)


def _harmonic_sum(before: IntArray, terms: IntArray) -> FloatArray:
    """The sum of 1 / i over ``terms`` numbers i from ``before`` + 1, to the last digits of float64."""
    after = before + terms
    small = _HARMONIC[np.minimum(after, _EXACT_TO)] - _HARMONIC[np.minimum(before, _EXACT_TO)]
    x, y = (np.maximum(n, _EXACT_TO) + 0.5 for n in (before, after))
    # Harmonic number n is log(n + 1/2) + 1 / 24 (n + 1/2)^2 - 7 / 960 (n + 1/2)^4 + ... and a constant.
    large = np.log1p((y - x) / x) + (1 / y**2 - 1 / x**2) / 24 - 7 * (1 / y**4 - 1 / x**4) / 960
    return np.asarray(small + large, np.float64)


def _last(radius: int) -> int:
    if radius < 0:
        raise ValueError(f"a Hamming radius is 0 or more, got {radius}")
    return radius


def _mean(counts: DistanceCounts, precision: FloatArray) -> FloatArray:
    return _defined(counts, precision.sum(1) / np.maximum(counts.positives, 1))


def _defined(counts: DistanceCounts, values: FloatArray) -> FloatArray:
    return np.where(counts.positives > 0, values, np.nan)
