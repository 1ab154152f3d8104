"""Which settings of a board cannot be told from its best."""

from typing import Literal

import numpy as np

from retrieval_bench.bench.per_query import FloatArray, IntArray, per_query_file, read_per_query
from retrieval_bench.bench.statistics import interval, verdict
from retrieval_bench.bench.summary import Board, Row

Standing = Literal["best", "noise", "worse"]
Values = tuple[IntArray, FloatArray]
RESAMPLES = 1000
"""Fewer than a comparison of two settings takes: a leaderboard makes many."""

NOISE = (
    "within noise of the best: the 95 % interval of the difference contains 0, by a paired bootstrap over queries and "
    f"seeds ({RESAMPLES:,} resamples; where a setting has one seed, its spread over seeds is not in it); "
    "retrieval-bench compare looks closer"
)
"""What the mark means."""


def standings(board: Board) -> list[Standing | None]:
    """How each row stands to the best by the main metric.

    Returns:
        One standing a row. ``noise`` and ``worse`` by the rule of ``statistics.verdict``; None for a row without a
        mean, where the values of single queries are missing, for one that read other data than the best, and for all
        if there is nothing to be better than.
    """
    main = board.protocol.main_metric
    ranked = [i for i, row in enumerate(board.rows) if row.metric(main)]
    found: list[Standing | None] = [None] * len(board.rows)
    if len(ranked) < 2:
        return found
    best, *others = ranked  # a board has its best first
    found[best] = "best"
    reference = _values(board.rows[best], main)
    for i in others if reference else ():
        values = _values(board.rows[i], main)
        if reference and values and _same_queries(board.rows[best], board.rows[i], reference, values):
            low, high = interval(reference[1], values[1], resamples=RESAMPLES)
            found[i] = "noise" if verdict(low, high) == "noise" else "worse"
    return found


def _same_queries(a: Row, b: Row, of_a: Values, of_b: Values) -> bool:
    """Whether two rows read the same data, and some query has a value of every seed of both."""
    if a.data != b.data or not np.array_equal(of_a[0], of_b[0]):
        return False
    return bool((~np.isnan(of_a[1]).any(axis=0) & ~np.isnan(of_b[1]).any(axis=0)).any())


def _values(row: Row, metric: str) -> Values | None:
    """Rows of the sample table and ``(seeds, q)`` values, None unless every seed has them for the same queries."""
    read = []
    for seed in row.seeds:
        path = per_query_file(*row.results[seed])
        if path is None:
            return None
        read.append(read_per_query(path, metric))
    queries = [query for query, _ in read]
    if any(not np.array_equal(query, queries[0]) for query in queries):
        return None
    return queries[0], np.stack([values for _, values in read])
