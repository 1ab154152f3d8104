"""Accuracy, bytes and latency: what a score costs, and which settings nothing else beats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from retrieval_bench.bench.report.entries import Entry
from retrieval_bench.bench.report.plots import Grid, Plot, Point, Spot, linear, logarithmic
from retrieval_bench.bench.summary import Board
from retrieval_bench.bench.words import magnitude, metric_label, number

_COSTS = {"bytes_per_image": "bytes per image", "ms_per_query": "ms per query"}
_FEW = 6  # values of a cost that each have a tick


@dataclass(frozen=True)
class _Offer:
    """What a setting gives and what it asks for; ``number`` is its place on the front, empty for one that is not."""

    name: str
    method: str
    score: float
    costs: tuple[float, ...]
    number: str = ""


def front(offers: Sequence[tuple[float, ...]]) -> list[bool]:
    """Which of several offers none of the others beats: as good in everything and better in something.

    Args:
        offers: Each a score, more is better, then costs, less is better.
    """
    turned = [(-score, *costs) for score, *costs in offers]
    return [not any(b != a and all(y <= x for x, y in zip(a, b, strict=True)) for b in turned) for a in turned]


def frontier_plots(board: Board, entries: Sequence[Entry]) -> list[Plot]:
    """A score against what it costs: in bytes, and in time; full marks are on the front of all three at once.

    Args:
        board: The table.
        entries: Its rows.
    """
    offers = _offers(board.protocol.main_metric, entries)
    if len(offers) < 2:
        return []
    label = metric_label(board.protocol.main_metric)
    grid = Grid(
        ("setting", f"{label} (%)", *_COSTS.values(), "on the front"),
        tuple(
            (o.name, number(o.score, 1), *map(magnitude, o.costs), f"yes ({o.number})" if o.number else "no")
            for o in offers
        ),
    )
    said = "On the front: " + "; ".join(f"{o.number} {o.name}" for o in offers if o.number) + "."
    plots = []
    for axis, (key, title) in enumerate(_COSTS.items()):
        if len({offer.costs[axis] for offer in offers}) == 1:
            said = f"All take {magnitude(offers[0].costs[axis])} {title}. {said}"
        else:
            place = f"frontier-{key.replace('_', '-')}-{board.protocol.fingerprint}"
            plots.append(_plot(place, offers, axis, title, label, grid))
    return [replace(plot, summary=said) for plot in plots]


def _offers(main: str, entries: Sequence[Entry]) -> list[_Offer]:
    offers = []
    for entry in entries:
        value, costs = entry.row.metric(main), [entry.row.cost(name) for name in _COSTS]
        if value and all(costs):
            offers.append(_Offer(entry.name, entry.row.method, 100 * value.mean, tuple(c for c in costs if c)))
    best = front([(offer.score, *offer.costs) for offer in offers])
    places = accumulate(map(int, best))
    return [replace(o, number=str(n) if on else "") for o, on, n in zip(offers, best, places, strict=True)]


def _plot(place: str, offers: Sequence[_Offer], axis: int, title: str, label: str, grid: Grid) -> Plot:
    methods = list(dict.fromkeys(offer.method for offer in offers))
    values = sorted({offer.costs[axis] for offer in offers})
    spots = tuple(
        Spot(
            (o.costs[axis], o.score),
            f"{o.name}: {label} {number(o.score, 1)}, {magnitude(o.costs[axis])} {title}",
            methods.index(o.method),
            bool(o.number),
            o.number,
        )
        for o in offers
    )
    return Plot(
        place,
        f"{label} against {title}",
        "full marks are on the front of score, bytes and latency together; the line is the front of this chart",
        logarithmic(values, title, ticks=values if len(values) <= _FEW and all(v == int(v) for v in values) else ()),
        linear([offer.score for offer in offers], f"{label} (%)"),
        grid,
        spots=spots,
        kinds=tuple(methods),
        steps=_steps([(offer.costs[axis], offer.score) for offer in offers]),
    )


def _steps(points: Sequence[Point]) -> tuple[Point, ...]:
    """The cheapest point, then each dearer one that is better than all before it."""
    stairs: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not stairs or y > stairs[-1][1]:
            stairs.append((x, y))
    return (*stairs, (max(x for x, _ in points), stairs[-1][1]))
