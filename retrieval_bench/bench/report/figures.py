"""The charts of a table: recall at K, a metric against bits, against epochs, and against bytes and latency."""

import re
from collections.abc import Iterable, Mapping, Sequence

from retrieval_bench.bench.chart import Chart, CurvePoint
from retrieval_bench.bench.curves import EPOCH, against_epoch, against_option
from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.facts import dataset_facts
from retrieval_bench.bench.leaderboard import Facts
from retrieval_bench.bench.papers import Paper
from retrieval_bench.bench.report.entries import Entry
from retrieval_bench.bench.report.frontier import frontier_plots
from retrieval_bench.bench.report.plots import (
    COLOURS,
    Curve,
    Grid,
    Plot,
    chosen,
    linear,
    logarithmic,
    thinned,
)
from retrieval_bench.bench.summary import Board
from retrieval_bench.bench.words import MISSING, number, spread

_BITS = "bits"


def board_plots(
    board: Board, entries: Sequence[Entry], papers: Mapping[str, Paper], facts: Facts = dataset_facts
) -> list[Plot]:
    """The charts of one table, those that have something to show.

    Args:
        board: The table.
        entries: Its rows.
        papers: Published numbers by the papers' keys.
        facts: Gives what is known of a data set.
    """
    settings = [entry.setting for entry in entries if entry.row.counted]
    main = board.protocol.main_metric
    plots = [_recall(board, entries)]
    for against in (_BITS, EPOCH):
        try:
            if against == EPOCH:
                chart = against_epoch(settings, main, papers=papers, facts=facts)
            else:
                chart = against_option(settings, main, against, papers=papers, facts=facts)
            plots.append(_of_chart(chart, board.protocol.fingerprint))
        except RecordError:
            raise
        except BenchError:
            continue  # no setting has bits, or none logged the metric
    plots += frontier_plots(board, entries)
    return [plot for plot in plots if plot]


def _recall(board: Board, entries: Sequence[Entry]) -> Plot | None:
    keys = {int(at[1]): key for key in board.metrics if (at := re.fullmatch(r"recall_at_(\d+)", key))}
    ks = sorted(keys)
    whole = [entry for entry in entries if all(entry.row.metric(keys[k]) for k in ks)]
    if len(ks) < 2 or not whole:
        return None
    drawn, lines, rows = whole[:COLOURS], [], []
    for place, entry in enumerate(whole):
        values = [entry.row.metric(keys[k]) for k in ks]
        known = [(100 * v.mean, None if v.std is None else 100 * v.std) for v in values if v]
        rows.append((entry.name, *(spread(mean, std, 1) for mean, std in known)))
        if place < COLOURS:
            points = tuple((float(k), mean) for k, (mean, _) in zip(ks, known, strict=True))
            lines.append(Curve(entry.name, points, tuple(std for _, std in known), href=entry.page))
    first = rows[0]
    return Plot(
        f"recall-{board.protocol.fingerprint}",
        "Recall at K",
        _limited("mean ± standard deviation over seeds", len(drawn), len(whole)),
        logarithmic([float(k) for k in ks], "K", ticks=[float(k) for k in ks]),
        linear(_heights(lines), "recall at K (%)", ceiling=100),
        Grid(("setting", *(f"R@{k}" for k in ks)), tuple(rows)),
        tuple(lines),
        summary=f"{first[0]} finds something relevant at the first place for {first[1]} % of the queries, within the "
        f"first {ks[-1]} for {first[-1]} %.",
    )


def _limited(note: str, drawn: int, all_of_them: int) -> str:
    return note if drawn == all_of_them else f"{note}; the first {drawn} of {all_of_them}, all are in the table"


def _heights(lines: Iterable[Curve]) -> list[float]:
    """All y that a chart must hold, deviations included."""
    found = []
    for line in lines:
        found += [y for _, y in (*line.points, *line.published)]
        for (_, y), off in zip(line.points, line.deviation, strict=False):
            found += [y - off, y + off] if off is not None else []
    return found


def _of_chart(chart: Chart, fingerprint: str) -> Plot:
    """The chart that ``plot`` draws, in the report's colours."""
    lines, kept = [], set(thinned(chart.values))
    for curve in chart.curves[:COLOURS]:
        measured = [point for point in curve.points if point.value and point.x in kept]
        points = tuple((chart.place(p.x), p.value.mean) for p in measured if p.value)
        published = tuple((chart.place(p.x), p.paper) for p in curve.points if p.paper is not None)
        if curve.paper is not None and points:
            published = ((points[-1][0], curve.paper),)
        lines.append(Curve(curve.name.short, points, tuple(p.value.std for p in measured if p.value), published))
    x = [chart.place(value) for value in chart.values]
    names = chart.choices or [f"{value:g}" for value in chart.values]
    label = chart.against.replace("_", " ")
    few = len(x) <= 10
    rows = [
        (curve.name.short, names[chart.values.index(point.x)], _value(point), number(point.paper or curve.paper, 1))
        for curve in chart.curves
        for point in curve.points
        if point.x in kept
    ]
    with_paper = any(row[3] != MISSING for row in rows)
    return Plot(
        f"{re.sub('[^a-z0-9]+', '-', label)}-{fingerprint}",
        f"{chart.y_label.removesuffix(' (%)')} against {'epochs' if chart.against == EPOCH else label}",
        _limited(chart.note, len(lines), len(chart.curves)),
        chosen(x, names, label) if few else linear(x, label, tight=True),
        linear(_heights(lines), chart.y_label),
        Grid(
            ("curve", label, chart.y_label, *(["in the paper"] if with_paper else [])),
            tuple(row if with_paper else row[:3] for row in rows),
        ),
        tuple(lines),
    )


def _value(point: CurvePoint) -> str:
    return spread(point.value.mean, point.value.std, 1) if point.value else MISSING
