"""A comparison as a page of tables, and as plain data."""

from collections.abc import Sequence
from typing import Any

from retrieval_bench.bench.compare import Comparison
from retrieval_bench.bench.leaderboard import describe
from retrieval_bench.bench.tables import Cell, Column, Page, Table
from retrieval_bench.bench.words import metric_label, number, signed, spread

VERDICTS = {"better": "A is better", "worse": "B is better", "noise": "within noise"}
_SHOWN = 10


def comparison_page(comparison: Comparison, paths: Sequence[str] | None = None) -> Page:
    """What the command prints.

    Args:
        comparison: What to tell of.
        paths: The paths of the pictures by row of the sample table, None where the data set is not at hand.
    """
    label, found = metric_label(comparison.metric), comparison.paired
    won, lost = comparison.extremes(_SHOWN)
    tables = [_sides(comparison, label)]
    for places, sign, winner in ((won, 1.0, "A"), (lost, -1.0, "B")):
        if places:
            tables.append(_queries(comparison, places, sign, f"Where {winner} wins most", paths))
    about = (
        f"{_points(found.difference)} points, 95 % interval {_points(found.low)} to {_points(found.high)}, "
        f"p = {found.p_value:.2g}.",
        f"Of {found.queries:,} queries A wins {found.wins}, B wins {found.losses}, "
        f"{found.ties} {'is' if found.ties == 1 else 'are'} equal"
        + (f"; {comparison.left_out} more left out, for want of a value." if comparison.left_out else "."),
        _how(comparison),
    )
    return Page(f"{label}: {VERDICTS[found.verdict]}", about, tuple(tables))


def comparison_data(comparison: Comparison, paths: Sequence[str] | None = None) -> dict[str, Any]:
    """The same for programs; metrics are fractions.

    Args:
        comparison: What to tell of.
        paths: As for ``comparison_page``.
    """
    found = comparison.paired
    sides = zip(comparison.names, comparison.results, comparison.spreads, strict=True)
    a, b = (
        {"name": name, "seeds": [r.run.seed for r in results], "mean": value.mean, "std": value.std}
        for name, results, value in sides
    )
    won, lost = (
        [
            {
                "row": int(comparison.query[i]),
                "path": paths[comparison.query[i]] if paths else None,
                "difference": float(found.per_query[i]),
            }
            for i in places
        ]
        for places in comparison.extremes(_SHOWN)
    )
    return {
        "metric": comparison.metric,
        "protocol": comparison.protocol.fingerprint,
        "a": a,
        "b": b,
        **{name: getattr(found, name) for name in ("difference", "low", "high", "p_value", "verdict")},
        **{name: getattr(found, name) for name in ("wins", "losses", "ties", "queries")},
        "left_out": comparison.left_out,
        "a_wins_most": won,
        "b_wins_most": lost,
    }


def _points(fraction: float) -> str:
    return signed(100 * fraction, 2)


def _how(comparison: Comparison) -> str:
    """What the interval and p are made of."""
    alone = tuple(name for name, side in zip("AB", comparison.values, strict=True) if len(side) == 1)
    over = {(): "queries and seeds", ("A",): "queries and B's seeds", ("B",): "queries and A's seeds"}
    unknown = (
        f" {' and '.join(alone)} {'has' if len(alone) == 1 else 'have'} one seed: the spread over seeds is unknown."
    )
    drawn = over.get(alone, "queries alone")
    return (
        f"The interval is a paired bootstrap over {drawn}; a difference is within noise if it contains 0. p asks of "
        "these very networks, by flipping the signs of the queries' differences." + (unknown if alone else "")
    )


def _sides(comparison: Comparison, label: str) -> Table:
    columns = (Column(""), Column("setting", number=False), Column(label), Column("seeds"))
    rows = tuple(
        (
            Cell(letter),
            Cell(name),
            Cell(spread(100 * value.mean, None if value.std is None else 100 * value.std, 2)),
            Cell(", ".join(str(result.run.seed) for result in results)),
        )
        for letter, name, value, results in zip(
            "AB", comparison.names, comparison.spreads, comparison.results, strict=True
        )
    )
    return Table("A and B", (describe(comparison.protocol),), columns, rows)


def _queries(
    comparison: Comparison, places: Sequence[int], sign: float, title: str, paths: Sequence[str] | None
) -> Table:
    what = Column("query", number=False) if paths else Column("row of the query")
    of_a, of_b = (side.mean(axis=0) for side in comparison.values)
    rows = tuple(
        (
            Cell(paths[comparison.query[i]] if paths else str(comparison.query[i])),
            Cell(number(100 * of_a[i], 1)),
            Cell(number(100 * of_b[i], 1)),
            Cell(number(100 * sign * comparison.paired.per_query[i], 1)),
        )
        for i in places
    )
    return Table(title, (), (what, Column("A"), Column("B"), Column("by")), rows)
