"""Has a method become worse? A suite's results against its committed baseline."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.plan import planned_hashes
from retrieval_bench.bench.records import build
from retrieval_bench.bench.results import Result, read_json
from retrieval_bench.bench.suite import Suite
from retrieval_bench.bench.tables import Cell, Column, Table
from retrieval_bench.bench.words import MISSING, count, metric_label, number, signed

Verdict = Literal["worse", "missing", "other protocol", "better", "same", "new"]

FAILING: frozenset[Verdict] = frozenset({"worse", "missing", "other protocol"})

TOLERANCE = 0.02
"""For a first baseline: two points."""


@dataclass(frozen=True, kw_only=True)
class BaselineRun:
    """What one run is expected to reach: its protocol's fingerprint and its metrics."""

    protocol: str
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a suite is expected to reach.

    Attributes:
        schema_version: Of this file.
        suite: The suite.
        tolerance: How far, as a fraction, a metric may fall before it counts as worse.
        runs: By the runs' names.
    """

    schema_version: Literal[1] = 1
    suite: str
    tolerance: float
    runs: dict[str, BaselineRun]

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance}, expected a fraction")


@dataclass(frozen=True)
class Finding:
    """One metric of one run, expected and found; None where it is not there."""

    run: str
    metric: str
    expected: float | None
    found: float | None
    verdict: Verdict


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BenchError: If there is none.
        RecordError: If it is broken.
    """
    if not path.is_file():
        raise BenchError(f"there is no baseline {path}; `retrieval-bench regress {path.stem} --update` writes one")
    return build(Baseline, read_json(path), file=path)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline, whole or not at all."""
    write_whole(path, json.dumps(asdict(baseline), indent=2, allow_nan=False) + "\n")


def make_baseline(suite: str, results: Mapping[Path, Result], tolerance: float) -> Baseline:
    """The baseline that a suite's results themselves are.

    Args:
        suite: The suite.
        results: Its results by file.
        tolerance: How far a metric may fall.

    Raises:
        BenchError: If there are no results.
    """
    named = {result.run.name: result for result in results.values()}
    if not named:
        raise BenchError(f"suite {suite} has no results; `retrieval-bench run {suite}` makes them")
    runs = {
        name: BaselineRun(protocol=result.protocol.fingerprint, metrics=dict(result.metrics))
        for name, result in sorted(named.items())
    }
    return Baseline(suite=suite, tolerance=tolerance, runs=runs)


def compare(baseline: Baseline, results: Mapping[Path, Result]) -> list[Finding]:
    """Compare results with a baseline.

    Args:
        baseline: What is expected.
        results: What was found, by file.

    Returns:
        One finding for each metric of the baseline, and one for each run it does not know.
    """
    named = {result.run.name: result for result in results.values()}
    findings = []
    for name, expected in baseline.runs.items():
        result = named.get(name)
        for metric, value in expected.metrics.items():
            found = result.metrics.get(metric) if result else None
            same = result is not None and result.protocol.fingerprint == expected.protocol
            verdict = _verdict(value, found, baseline.tolerance) if same or found is None else "other protocol"
            findings.append(Finding(name, metric, value, found, verdict))
    for name, result in named.items():
        if name not in baseline.runs:
            main = result.protocol.main_metric
            findings.append(Finding(name, main, None, result.metrics[main], "new"))
    return findings


def demand_all_runs(old: Baseline, results: Mapping[Path, Result], path: Path) -> None:
    """Refuse to make a new baseline that would silently forget runs of the old one.

    Args:
        old: The baseline there is.
        results: What would become the new one, by file.
        path: The file of the baseline, for the message.

    Raises:
        BenchError: If a run of the baseline has no result.
    """
    missing = sorted(old.runs.keys() - {result.run.name for result in results.values()})
    if missing:
        raise BenchError(
            f"the results lack {count(len(missing), 'run')} of the baseline {path} ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}); make them first with `retrieval-bench run {old.suite}`, "
            "or delete the baseline"
        )


def earlier_runs(results: Mapping[Path, Result], suites: Mapping[str, Suite]) -> list[str]:
    """The runs whose configuration is not the one that their suite plans today.

    Args:
        results: By file.
        suites: The suites that are known, by name; of another one nothing can be said.
    """
    planned = {run: config for suite in suites.values() for run, config in planned_hashes(suite).items()}
    return [r.run.name for r in results.values() if planned.get(r.run, r.config_hash) != r.config_hash]


def _verdict(expected: float, found: float | None, tolerance: float) -> Verdict:
    if found is None:
        return "missing"
    # A difference of exactly the tolerance is within it, whatever binary fractions make of the subtraction.
    if found < expected - tolerance - 1e-9:
        return "worse"
    return "better" if found > expected + tolerance + 1e-9 else "same"


def findings_table(title: str, findings: list[Finding]) -> Table:
    """Findings as a table, in percent."""
    columns = [Column("run", number=False), Column("metric", number=False)]
    columns += [Column("baseline"), Column("now"), Column("difference"), Column("verdict", number=False)]
    rows = tuple(
        (
            Cell(finding.run),
            Cell(metric_label(finding.metric)),
            Cell(_percent(finding.expected)),
            Cell(_percent(finding.found)),
            Cell(_difference(finding)),
            Cell(finding.verdict),
        )
        for finding in findings
    )
    return Table(title, (), tuple(columns), rows)


def _percent(fraction: float | None) -> str:
    return number(None if fraction is None else 100 * fraction, 1)


def _difference(finding: Finding) -> str:
    if finding.expected is None or finding.found is None:
        return MISSING
    return signed(100 * (finding.found - finding.expected), 1)
