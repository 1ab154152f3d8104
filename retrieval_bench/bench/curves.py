"""Results as curves: a metric against an option or epochs, one curve for each setting that differs otherwise."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import fmean, stdev
from typing import Any

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.facts import dataset_facts
from retrieval_bench.bench.leaderboard import Facts, heading, published_ways
from retrieval_bench.bench.metric_log import read_log
from retrieval_bench.bench.papers import Paper, papers_folder, printed_value, read_papers
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import Result, read_results
from retrieval_bench.bench.settings import Setting, curve_names, find_option
from retrieval_bench.bench.suite import find_suite, known_suites
from retrieval_bench.bench.summary import Spread, boards
from retrieval_bench.bench.words import count, metric_label

EPOCH = "epoch"
_EVALUATED = ("curve", "val", "test")
"""First parts of the names of logged metrics, which are fractions; all else is drawn as it was logged."""
_LONG = 16
"""How many times the smallest power the largest is where they are drawn evenly spaced."""


@dataclass(frozen=True)
class CurvePoint:
    """One point; metrics are percentages.

    Attributes:
        x: The option's value, or the epoch.
        value: Mean and deviation over the seeds, None where the setting is not complete.
        seeds: How many.
        paper: The published number of the same setting.
    """

    x: Any
    value: Spread | None
    seeds: int
    paper: float | None = None


@dataclass(frozen=True)
class ResultCurve:
    """A curve; ``paper`` is one published number for all of it, where x is no option."""

    name: str
    points: tuple[CurvePoint, ...]
    paper: float | None = None


@dataclass(frozen=True)
class Chart:
    """What a plot shows.

    Attributes:
        title: What was measured, and how.
        note: What a point stands for.
        metric: The metric, as it was asked for.
        y_label: The metric, as a person reads it.
        against: The option, or ``epoch``.
        curves: Best first.
        left_out: Sentences on the settings that are not in it.
    """

    title: str
    note: str
    metric: str
    y_label: str
    against: str
    curves: tuple[ResultCurve, ...]
    left_out: tuple[str, ...]

    @property
    def values(self) -> list[Any]:
        """Every x once, numbers by size, all else by name."""
        return _in_order({point.x for curve in self.curves for point in curve.points})

    @property
    def numeric(self) -> bool:
        """Whether x is a number, or one of several choices."""
        return _are_numbers(self.values)

    @property
    def doubling(self) -> bool:
        """Whether x is powers of two, or of ten, from small ones to large ones."""
        if not self.numeric or min(self.values) <= 0 or self.values[-1] < _LONG * self.values[0]:
            return False
        powers = ([logarithm(x) for x in self.values] for logarithm in (math.log2, math.log10))
        return any(all(math.isclose(power, round(power), abs_tol=1e-9) for power in some) for some in powers)

    @property
    def choices(self) -> list[str]:
        """The names of what x may be where it is no number; of a file its own, without folder and ending."""
        if self.numeric:
            return []
        names = ["none" if x is None else str(x) for x in self.values]
        return [PurePath(name).stem if "/" in name else name for name in names]

    def place(self, x: Any) -> float:
        """Where x stands on its axis: choices are at 0, 1, ..."""
        return float(x) if self.numeric else float(self.values.index(x))


def read_chart(suites: Sequence[str], *, metric: str, against: str, folder: Path) -> Chart:
    """A chart of what suites have left.

    Args:
        suites: Their names or files.
        metric: A metric's key; against epochs also the name of a logged column, such as ``train/gap``.
        against: An option of the resolved config, by its dotted name or the end of it; or ``epoch``.
        folder: The folder of results.

    Raises:
        BenchError: If there is no such suite, metric or option; the message names what there is.
    """
    results: dict[Path, Result] = {}
    for name in suites:
        place = folder / "runs" / Path(name).stem
        found = read_results(place) if place.is_dir() else {}
        if not found:
            find_suite(name)  # a wrong name rather than a suite nobody has run
            raise BenchError(f"suite {name} has no results in {folder}; `retrieval-bench run {name}` makes them")
        results |= found
    known = known_suites({Path(name).stem for name in suites})
    settings = [
        Setting.of(board.protocol, row) for board in boards(results, known) for row in board.rows if row.counted
    ]
    papers = read_papers(papers_folder(folder))
    if against == EPOCH:
        return against_epoch(settings, metric, papers=papers)
    return against_option(settings, metric, against, papers=papers)


def against_option(
    settings: Sequence[Setting],
    metric: str,
    option: str,
    *,
    papers: Mapping[str, Paper],
    facts: Facts = dataset_facts,
) -> Chart:
    """A metric against an option: settings that share all other options are one curve.

    Args:
        settings: All there are.
        metric: The metric's key.
        option: Its dotted name, or the end of it.
        papers: Published numbers by the papers' keys, which are the methods'.
        facts: Gives what is known of a data set.

    Raises:
        BenchError: If no result has the metric or the option, or the option's name fits several.
    """
    known = dict.fromkeys(key for setting in settings for result in setting.results for key in result.metrics)
    if metric not in known:
        raise BenchError(f"no result has a metric {metric}{suggestion(metric, known)}")
    name = find_option(settings, option)
    left_out = [f"{setting.name}: it has no option {name}" for setting in settings if name not in setting.options]
    groups: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        if name in setting.options:
            groups[setting.all_but(name)].append(setting)
    swept = [group for group in groups.values() if len({setting.options[name] for setting in group}) > 1]
    chosen = swept or list(groups.values())
    alone = [setting for group in groups.values() if group not in chosen for setting in group]
    left_out += [f"{setting.name}: no other setting differs from it in {option} alone" for setting in alone]
    curves = []
    for title, group in zip(curve_names(chosen), chosen, strict=True):
        points: dict[Any, CurvePoint] = {}
        for setting in group:
            value = _percent(setting.row.metric(metric))
            left_out += [] if value else [f"{setting.name}: {_gaps(setting, metric)}"]
            x, paper = setting.options[name], _printed(setting, metric, papers, facts)
            # One configuration under two names is one point: of each, what the first that has it says.
            first = points.get(x, CurvePoint(x, None, 0))
            seeds = first.seeds if first.value else len(setting.row.seeds)
            points[x] = CurvePoint(x, first.value or value, seeds, paper if first.paper is None else first.paper)
        shown = [points[x] for x in _in_order(points)]
        curves.append(ResultCurve(title, tuple(p for p in shown if p.value or p.paper is not None)))
    return _chart(chosen, curves, metric, f"{metric_label(metric)} (%)", name.rpartition(".")[2], left_out, facts)


def against_epoch(
    settings: Sequence[Setting], metric: str, *, papers: Mapping[str, Paper], facts: Facts = dataset_facts
) -> Chart:
    """A metric, or any logged column, against epochs: one curve a setting.

    Args:
        settings: All there are.
        metric: The name of a column, or of a metric that stands in ``curve/<metric>`` or else in ``val/<metric>``.
        papers: Published numbers by the papers' keys, which are the methods'.
        facts: Gives what is known of a data set.

    Raises:
        BenchError: If no run logged the metric.
    """
    logs = [[read_log(s.row.results[seed][0].parent) for seed in s.row.seeds] for s in settings]
    columns = dict.fromkeys(column for seeds in logs for log in seeds for column in log)
    wanted = (metric, f"curve/{metric}", f"val/{metric}")
    column = next((name for name in wanted if name in columns), None)
    if column is None:
        raise BenchError(f"no run logged {metric} while it trained{suggestion(metric, columns)}")
    stage, _, key = column.rpartition("/")
    evaluated = stage in _EVALUATED
    left_out: list[str] = []
    chosen: list[list[Setting]] = []
    drawn: list[list[dict[int, float]]] = []
    for setting, seeds in zip(settings, logs, strict=True):
        if not setting.row.whole:
            left_out.append(f"{setting.name}: {_gaps(setting, key)}")
        elif not all(column in log for log in seeds):
            left_out.append(f"{setting.name}: it did not log {column}")
        else:
            chosen.append([setting])
            drawn.append([log[column] for log in seeds])
    if not chosen:
        raise BenchError(f"no setting has {column} of all its seeds: {'; '.join(left_out)}")
    curves = []
    for name, (setting,), values in zip(curve_names(chosen), chosen, drawn, strict=True):
        common = sorted(set.intersection(*(set(seed) for seed in values)))
        spreads = {x: _spread([seed[x] for seed in values]) for x in common}
        points = tuple(
            CurvePoint(x, _percent(spread) if evaluated else spread, len(values)) for x, spread in spreads.items()
        )
        curves.append(ResultCurve(name, points, _printed(setting, key, papers, facts) if evaluated else None))
    label = f"{metric_label(key)} (%)" if evaluated else column
    return _chart(chosen, curves, column, label, EPOCH, left_out, facts)


def chart_csv(chart: Chart) -> str:
    """The points of a chart, one a line, as drawn; an empty field is a missing number."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("curve", "metric", "against", "x", "mean", "std", "seeds", "paper"))
    for curve in chart.curves:
        for point in curve.points:
            value = (point.value.mean, point.value.std) if point.value else (None, None)
            paper = curve.paper if point.paper is None else point.paper
            numbers = ["" if number is None else f"{number:.10g}" for number in (*value, paper)]
            x = "none" if point.x is None else point.x
            writer.writerow((curve.name, chart.metric, chart.against, x, *numbers[:2], point.seeds, numbers[2]))
    return stream.getvalue()


def _chart(
    groups: Sequence[Sequence[Setting]],
    curves: Sequence[ResultCurve],
    metric: str,
    y_label: str,
    against: str,
    left_out: Collection[str],
    facts: Facts,
) -> Chart:
    drawn = tuple(curve for curve in curves if curve.points)
    protocols = {setting.protocol.fingerprint: setting.protocol for group in groups for setting in group}
    titles = [heading(protocol, facts(protocol.dataset)) for protocol in protocols.values()]
    seeds = sorted({point.seeds for curve in drawn for point in curve.points if point.value})
    if not seeds:
        raise BenchError(f"there is nothing to draw: {'; '.join(left_out)}")
    many = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    note = "one seed" if seeds == [1] else f"mean and standard deviation over {many}"
    return Chart("; ".join(titles), note, metric, y_label, against, drawn, tuple(left_out))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def _percent(value: Spread | None) -> Spread | None:
    return value and Spread(100 * value.mean, None if value.std is None else 100 * value.std)


def _gaps(setting: Setting, metric: str) -> str:
    """Why a setting has no mean."""
    return "; ".join(setting.row.gaps(metric)) or f"not every seed has {metric}"


def _printed(setting: Setting, metric: str, papers: Mapping[str, Paper], facts: Facts) -> float | None:
    """The paper's own number for a setting, in percent; a guest has none, whatever it is called."""
    protocol, row = setting.protocol, setting.row
    if row.guest or row.method not in papers:
        return None
    ways = published_ways(protocol, facts(protocol.dataset))
    value = printed_value(papers[row.method], (row.method, row.variant), protocol.dataset, metric, ways)
    return None if value is None else 100 * value


def _in_order(values: Collection[Any]) -> list[Any]:
    return sorted(values, key=float if _are_numbers(values) else str)


def _are_numbers(values: Collection[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
