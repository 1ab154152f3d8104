"""Two settings side by side: which is better, by how much, and on which queries."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.per_query import FloatArray, IntArray, per_query_file, read_per_query
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import ASIDE, RESULT_FILE, Result, read_result
from retrieval_bench.bench.statistics import Paired, paired
from retrieval_bench.bench.summary import Spread
from retrieval_bench.retrieval.protocol import Protocol


@dataclass(frozen=True)
class Comparison:
    """Two settings, A and B, on the same queries.

    Attributes:
        names: What they are called: ``suite/dataset/setting``, and ``/s0`` where it is one run.
        results: Their runs, in the order of the seeds.
        metric: What is compared.
        values: ``(seeds, q)`` of each side, ``nan`` where a query has no value.
        query: ``(q,)`` rows of the sample table.
        paired: How they differ.
    """

    names: tuple[str, str]
    results: tuple[tuple[Result, ...], tuple[Result, ...]]
    metric: str
    values: tuple[FloatArray, FloatArray]
    query: IntArray
    paired: Paired

    @property
    def protocol(self) -> Protocol:
        """How both were measured."""
        return self.results[0][0].protocol

    @property
    def left_out(self) -> int:
        """Queries that were not counted, since some seed has no value for them."""
        return len(self.query) - self.paired.queries

    @property
    def spreads(self) -> tuple[Spread, Spread]:
        """Mean and deviation over the seeds of each side, over the queries that were counted."""
        counted = ~np.isnan(self.paired.per_query)
        means = [side[:, counted].mean(axis=1).tolist() for side in self.values]
        a, b = (Spread(fmean(seeds), stdev(seeds) if len(seeds) > 1 else None) for seeds in means)
        return a, b

    def extremes(self, many: int) -> tuple[list[int], list[int]]:
        """Places in ``query``, the greatest difference first: where A wins most, and where B does.

        Args:
            many: At most how many of each.
        """
        difference = self.paired.per_query
        won = [int(i) for i in np.argsort(-difference, kind="stable")[:many] if difference[i] > 0]
        lost = [int(i) for i in np.argsort(difference, kind="stable")[:many] if difference[i] < 0]
        return won, lost


def compare(a: Sequence[Path], b: Sequence[Path], metric: str | None = None) -> Comparison:
    """Compare two settings.

    Args:
        a: The result files of A, one a seed.
        b: Those of B.
        metric: What to compare; the main metric of the protocol if None.

    Raises:
        BenchError: If the runs of a side are not of one setting, the sides were measured in different ways or on
            different data, or a file with the values of the queries is missing.
    """
    sides = _one_setting(a), _one_setting(b)
    names = _name(sides[0]), _name(sides[1])
    _demand_same_way(names, sides[0][0], sides[1][0])
    known = [key for key in sides[0][0].metrics if key in sides[1][0].metrics]
    chosen = metric or sides[0][0].protocol.main_metric
    if chosen not in known:
        raise BenchError(f"{names[0]} and {names[1]} have no metric {chosen} in common{suggestion(chosen, known)}")
    read = [
        [_values(file, result, chosen) for file, result in zip(files, side, strict=True)]
        for files, side in zip((a, b), sides, strict=True)
    ]
    query = read[0][0][0]
    if any(not np.array_equal(rows, query) for side in read for rows, _ in side):
        raise BenchError(
            f"{names[0]} and {names[1]} have other queries, though their data are the same: run them again"
        )
    values = np.stack([v for _, v in read[0]]), np.stack([v for _, v in read[1]])
    try:
        return Comparison(names, sides, chosen, values, query, paired(*values))
    except ValueError as error:
        raise BenchError(f"{names[0]} and {names[1]} cannot be compared by {chosen}: {error}") from error


def result_files(run: str, folder: Path) -> list[Path]:
    """The result files of a setting, or of one run, in the order of the seeds.

    Args:
        run: Its name below the folder of runs, or a path: of the setting's folder, a run's folder or its result.
        folder: The folder of results.

    Raises:
        BenchError: If there is no such run, or it is a folder of several settings.
    """
    runs = folder / "runs"
    place = next((path for path in (Path(run), runs / run) if path.exists()), None)
    if place is not None and place.is_file():
        if place.name != RESULT_FILE:
            raise BenchError(f"{place} is no run: name its {RESULT_FILE}, its folder or its setting's folder")
        return [place]
    if place is not None and (place / RESULT_FILE).is_file():
        return [place / RESULT_FILE]
    seeds = [f for f in place.glob(f"s*/{RESULT_FILE}") if re.fullmatch(r"s\d+", f.parent.name)] if place else []
    if seeds:
        return sorted(seeds, key=lambda file: int(file.parent.name[1:]))
    below = place if place is not None else runs
    settings = {f.parent.parent for f in below.rglob(RESULT_FILE) if not any(ASIDE in part for part in f.parts)}
    # As they can be typed: from the folder of runs, or the whole path of those that lie elsewhere.
    known = sorted((p.relative_to(runs) if p.is_relative_to(runs) else p).as_posix() for p in settings)
    if place is None:
        close = difflib.get_close_matches(run, known, n=1)
        suites = ", ".join(dict.fromkeys(name.partition("/")[0] for name in known))
        hint = f"; did you mean {close[0]}?" if close else f" (there are runs of {suites})" if suites else ""
        raise BenchError(f"there is no run {run}, neither here nor in {runs}{hint}")
    if not known:
        raise BenchError(f"{place} holds no result; `retrieval-bench run SUITE` makes one")
    raise BenchError(f"{place} holds several settings; name one of them: {', '.join(known)}")


def _one_setting(files: Sequence[Path]) -> tuple[Result, ...]:
    results = tuple(read_result(file) for file in files)
    settings = list(dict.fromkeys((r.run.suite, r.run.dataset, r.run.setting) for r in results))
    if len(settings) != 1:
        raise BenchError(f"expected the runs of one setting, got {', '.join('/'.join(s) for s in settings) or 'none'}")
    for what, found in (
        ("ran different configurations", {result.config_hash for result in results}),
        ("were measured in different ways", {result.protocol.fingerprint for result in results}),
        ("read different data", {result.data.fingerprint for result in results}),
    ):
        if len(found) > 1:
            raise BenchError(
                f"the seeds of {'/'.join(settings[0])} {what} ({', '.join(sorted(found))}): name one of them, or "
                "let `retrieval-bench run` renew them"
            )
    return results


def _name(results: Sequence[Result]) -> str:
    run = results[0].run
    return f"{run.suite}/{run.dataset}/{run.setting}" + (f"/s{run.seed}" if len(results) == 1 else "")


def _demand_same_way(names: tuple[str, str], a: Result, b: Result) -> None:
    """Refuse what may not stand in one column."""
    if a.protocol.fingerprint != b.protocol.fingerprint:
        ways = asdict(a.protocol), asdict(b.protocol)
        differing = [
            f"{key} {ways[0][key]} against {ways[1][key]}"
            for key in ways[0]
            if key not in {"metrics", "main_metric"} and ways[0][key] != ways[1][key]
        ]
        raise BenchError(f"{names[0]} and {names[1]} were measured in different ways: {', '.join(differing)}")
    if a.data.fingerprint != b.data.fingerprint:
        raise BenchError(
            f"{names[0]} and {names[1]} read different data: fingerprint {a.data.fingerprint} against "
            f"{b.data.fingerprint}"
        )


def _values(file: Path, result: Result, metric: str) -> tuple[IntArray, FloatArray]:
    path = per_query_file(file, result)
    if path is None:
        raise BenchError(f"{file.parent} has no values of single queries; `retrieval-bench run` makes the run again")
    return read_per_query(path, metric)
