"""Results as curves: a metric against an option, a cost or epochs, one curve for what differs otherwise."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from retrieval_bench.bench.chart import Chart, CurveName, CurvePoint, ResultCurve, ResultLevel, in_order
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.facts import dataset_facts
from retrieval_bench.bench.leaderboard import Facts, heading, published_ways
from retrieval_bench.bench.metric_log import read_log
from retrieval_bench.bench.papers import Paper, papers_folder, printed_value, read_papers
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import Result, read_results
from retrieval_bench.bench.settings import Setting, curve_names
from retrieval_bench.bench.suite import find_suite, known_suites
from retrieval_bench.bench.summary import Spread, boards
from retrieval_bench.bench.sweeps import find_sweep
from retrieval_bench.bench.words import count, metric_label
from retrieval_bench.retrieval.protocol import Protocol

EPOCH = "epoch"
_EVALUATED = ("curve", "val", "test")
"""First parts of the names of logged metrics, which are fractions; all else is drawn as it was logged."""


def read_chart(suites: Sequence[str], *, metric: str, against: str, folder: Path) -> Chart:
    """A chart of what suites have left.

    Args:
        suites: Their names or files.
        metric: A metric's key; against epochs also the name of a logged column, such as ``train/gap``.
        against: An option of the resolved config, by its dotted name or the end of it; a cost; or ``epoch``.
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
    """A metric against an option or a cost: settings that share all other options are one curve.

    Args:
        settings: All there are.
        metric: The metric's key.
        option: Its dotted name, or the end of it; or a cost.
        papers: Published numbers by the papers' keys, which are the methods'.
        facts: Gives what is known of a data set.

    Raises:
        BenchError: If no result has the metric or the option, or the option's name fits several.
    """
    known = dict.fromkeys(key for setting in settings for result in setting.results for key in result.metrics)
    if metric not in known:
        raise BenchError(f"no result has a metric {metric}{suggestion(metric, known)}")
    sweep = find_sweep(settings, option)
    names = _names([*sweep.curves, *sweep.levels], facts)
    left_out = list(sweep.left_out)
    for setting in chain(*sweep.curves, *sweep.levels):
        left_out += [] if setting.row.metric(metric) else [f"{setting.name}: {_gaps(setting, metric)}"]
    curves = []
    for name, group in zip(names, sweep.curves, strict=False):
        alike: dict[Any, list[Setting]] = {}
        for setting in group:
            alike.setdefault(setting.options.get(sweep.option), []).append(setting)
        points = [_point(sweep.x(same[0]), same, metric, papers, facts) for same in alike.values()]
        places = in_order({point.x for point in points})
        shown = [point for point in points if point.value or point.paper is not None]
        curves.append(ResultCurve(name, tuple(sorted(shown, key=lambda point: places.index(point.x)))))
    levels = []
    for name, group in zip(names[len(curves) :], sweep.levels, strict=True):
        nearest = sweep.nearest(group[0])
        beside = None if nearest is None else names[nearest].short
        levels.append(ResultLevel(name, _point(None, group, metric, papers, facts), beside))
    label, against = f"{metric_label(metric)} (%)", sweep.axis.rpartition(".")[2]
    return _chart(curves, metric, label, against, left_out, levels)


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
    for name, (setting,), values in zip(_names(chosen, facts), chosen, drawn, strict=True):
        common = sorted(set.intersection(*(set(seed) for seed in values)))
        spreads = {x: _spread([seed[x] for seed in values]) for x in common}
        points = tuple(
            CurvePoint(x, _percent(spread) if evaluated else spread, len(values)) for x, spread in spreads.items()
        )
        curves.append(ResultCurve(name, points, _printed(setting, key, papers, facts) if evaluated else None))
    label = f"{metric_label(key)} (%)" if evaluated else column
    return _chart(curves, column, label, EPOCH, left_out)


def _chart(
    curves: Sequence[ResultCurve],
    metric: str,
    y_label: str,
    against: str,
    left_out: Collection[str],
    levels: Sequence[ResultLevel] = (),
) -> Chart:
    drawn = tuple(curve for curve in curves if curve.points)
    measured = [level for level in levels if level.point.value]
    panels = {curve.name.panel for curve in drawn}
    beside = tuple(level for level in measured if level.name.panel in panels)
    reasons = (
        *left_out,
        *(f"{level.name.whole}: no curve stands beside it" for level in measured if level not in beside),
    )
    points = [*(point for curve in drawn for point in curve.points), *(level.point for level in beside)]
    seeds = sorted({point.seeds for point in points if point.value})
    if not seeds:
        raise BenchError(f"there is nothing to draw: {'; '.join(reasons)}")
    many = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    note = "one seed" if seeds == [1] else f"mean and standard deviation over {many}"
    return Chart(note, metric, y_label, against, drawn, reasons, beside)


def _names(groups: Sequence[Sequence[Setting]], facts: Facts) -> list[CurveName]:
    panels = _panels([group[0].protocol for group in groups], facts)
    short: dict[int, str] = {}
    for panel in set(panels):
        inside = [i for i, other in enumerate(panels) if other == panel]
        short |= zip(inside, curve_names([groups[i] for i in inside]), strict=True)
    return [CurveName(name, short[i], panels[i]) for i, name in enumerate(curve_names(groups))]


def _panels(protocols: Sequence[Protocol], facts: Facts) -> list[str]:
    """Headings, with the edition where one would stand for several ways of measuring."""
    headings = [heading(protocol, facts(protocol.dataset)) for protocol in protocols]
    ways = {(title, protocol.fingerprint) for title, protocol in zip(headings, protocols, strict=True)}
    several = {title for title, times in Counter(title for title, _ in ways).items() if times > 1}
    return [
        f"{title}, {protocol.edition}" if title in several else title
        for title, protocol in zip(headings, protocols, strict=True)
    ]


def _point(x: Any, alike: Sequence[Setting], metric: str, papers: Mapping[str, Paper], facts: Facts) -> CurvePoint:
    """One configuration under several names is one point: of each, what the first that has it says."""
    first = next((setting for setting in alike if setting.row.metric(metric)), alike[0])
    printed = (_printed(setting, metric, papers, facts) for setting in alike)
    paper = next((number for number in printed if number is not None), None)
    return CurvePoint(x, _percent(first.row.metric(metric)), len(first.row.seeds), paper)


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
