"""A against B: two settings of one table, query by query."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval_bench.bench.compare import Comparison, compare
from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.report.entries import Entry
from retrieval_bench.bench.report.names import slug
from retrieval_bench.bench.report.plots import Area, Grid, Plot, Point, linear
from retrieval_bench.bench.statistics import Paired
from retrieval_bench.bench.words import metric_label, signed

ALL_PAIRS = 6
"""Up to so many settings each is compared with each, else each with the best."""
_STEPS = 250
"""Heights that a chart of differences tells apart: about one a pixel, however many queries there are."""


@dataclass(frozen=True)
class Duel:
    """Two settings, the one higher in the table first.

    Attributes:
        a: The higher one.
        b: The other.
        comparison: How they differ by the table's main metric.
    """

    a: Entry
    b: Entry
    comparison: Comparison

    @property
    def outcome(self) -> Paired:
        """How they differ on the queries that both have values for."""
        return self.comparison.paired

    @cached_property
    def page(self) -> str:
        """Its file, from the report's folder."""
        sides = [(e.row.suite, e.row.setting) for e in (self.a, self.b)]
        return f"compare/{slug(self.a.board.protocol.fingerprint, *sides[0], *sides[1])}.html"


def duels(entries: Sequence[Entry]) -> list[Duel]:
    """Compare the settings of one table by its main metric.

    Args:
        entries: The table's rows, best first.

    Returns:
        Each with the best, in the order of the table; of a small table every pair. Pairs that cannot be compared are
        left out: those without all seeds, or without values of the same queries.
    """
    whole = [entry for entry in entries if entry.row.whole]
    pairs = combinations(whole, 2) if len(whole) <= ALL_PAIRS else ((whole[0], other) for other in whole[1:])
    found = []
    for a, b in pairs:
        try:
            found.append(Duel(a, b, compare(_files(a), _files(b), a.board.protocol.main_metric)))
        except RecordError:
            raise
        except BenchError:
            continue  # not the same queries, or no value on any of them
    return found


def _files(entry: Entry) -> list[Path]:
    return [entry.row.results[seed][0] for seed in entry.row.seeds]


def duel_plot(duel: Duel) -> Plot:
    """The difference on every query, from where A wins most to where B does."""
    difference = 100 * np.sort(duel.outcome.per_query[~np.isnan(duel.outcome.per_query)])[::-1]
    label = metric_label(duel.comparison.metric)
    bounds = [0.0, float(difference.max()), float(difference.min())]
    shares = (0, 5, 25, 50, 75, 95, 100)
    quantiles = np.percentile(difference, [100 - share for share in shares])
    o = duel.outcome
    return Plot(
        "differences",
        f"{label} of A less {label} of B, query by query",
        "queries sorted by their difference; above zero A is better, below zero B",
        linear([0, len(difference)], "queries", tight=True),
        linear(bounds, "difference (points)"),
        Grid(
            ("share of the queries", "difference (points) at least"),
            tuple((f"{share} %", signed(float(value), 1)) for share, value in zip(shares, quantiles, strict=True)),
        ),
        areas=tuple(area for area in (_area("win", difference), _area("loss", difference)) if area),
        summary=f"A is better on {o.wins}, B on {o.losses} of {o.queries} queries; {o.ties} are equal.",
    )


def _area(kind: str, difference: npt.NDArray[np.float64]) -> Area | None:
    """The steps of the queries that one side wins, one step a value."""
    (places,) = np.nonzero(difference > 0 if kind == "win" else difference < 0)
    if not len(places):
        return None
    first, end = int(places[0]), int(places[-1]) + 1
    points: list[Point] = [(float(first), 0.0)]
    step = float(np.abs(difference).max()) / _STEPS
    for place in range(first, end):
        value = round(float(difference[place]) / step) * step
        if points[-1][1] != value:
            points.append((float(place), value))
    return Area(kind, (*points, (float(end), 0.0)))
