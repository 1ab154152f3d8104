"""Results gathered into boards: one for each way of measuring, one row for each setting, averaged over its seeds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.plan import planned_hashes
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.suite import Suite
from retrieval_bench.bench.words import metric_label
from retrieval_bench.retrieval.protocol import Protocol

EARLIER = "made with an earlier configuration"
GUESTS = "guests"
"""The suite of descriptors that were made elsewhere and scored here."""


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and its sample standard deviation, None for a single seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Row:
    """All seeds of one setting of one suite.

    Attributes:
        suite: The suite.
        method: The method.
        variant: Its variant, None for its own config.
        expected: The seeds that belong to the row.
        results: By seed, the result and its file.
        planned: By seed, the configuration that the suite plans today, where that is known.
    """

    suite: str
    method: str
    variant: str | None
    expected: tuple[int, ...]
    results: Mapping[int, tuple[Path, Result]]
    planned: Mapping[int, str] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """The method and its variant in one word."""
        return f"{self.method}-{self.variant}" if self.variant else self.method

    @property
    def guest(self) -> bool:
        """Whether its descriptors were made elsewhere."""
        return self.suite == GUESTS

    @property
    def seeds(self) -> list[int]:
        """The expected seeds that are there."""
        return [seed for seed in self.expected if seed in self.results]

    @property
    def counted(self) -> list[Result]:
        """The results of the expected seeds."""
        return [self.results[seed][1] for seed in self.seeds]

    @property
    def configurations(self) -> list[str]:
        """The hashes of the configurations behind the row: one, if all is well."""
        return list(dict.fromkeys(result.config_hash for result in self.counted))

    @property
    def data(self) -> list[str]:
        """The fingerprints of the data behind the row: one, if all is well."""
        return list(dict.fromkeys(result.data.fingerprint for result in self.counted))

    @property
    def whole(self) -> bool:
        """Whether the row may be averaged: every seed is there and all ran the same configuration on the same data."""
        return len(self.seeds) == len(self.expected) and len(self.configurations) == len(self.data) == 1

    def spread(self, values: Iterable[float | None]) -> Spread | None:
        """Mean and deviation of one value a seed, None unless the row is whole and every seed has the value."""
        known = [value for value in values if value is not None]
        if not self.whole or len(known) < len(self.expected):
            return None
        return Spread(fmean(known), stdev(known) if len(known) > 1 else None)

    def metric(self, key: str, part: str = "metrics") -> Spread | None:
        """A metric over the seeds.

        Args:
            key: The metric.
            part: ``metrics``, ``before`` or ``best``.
        """
        return self.spread((getattr(result, part) or {}).get(key) for result in self.counted)

    def cost(self, name: str) -> float | None:
        """A cost, averaged over the seeds."""
        spread = self.spread(getattr(result.cost, name) for result in self.counted)
        return spread.mean if spread else None

    def gaps(self, main: str) -> list[str]:
        """Why the row shows no average, and what its single seeds say."""
        found = []
        if missing := [seed for seed in self.expected if seed not in self.results]:
            single = ", ".join(
                f"seed {seed}: {metric_label(main)} {100 * self.results[seed][1].metrics[main]:.1f}"
                for seed in self.seeds
                if main in self.results[seed][1].metrics
            )
            found.append(
                f"{len(self.seeds)} of {len(self.expected)} seeds; missing: {', '.join(map(str, missing))}"
                + (f" ({single})" if single else "")
            )
        if len(self.configurations) > 1:
            found.append(f"the seeds ran different configurations: {', '.join(self.configurations)}")
        if len(self.data) > 1:
            found.append(f"the seeds read different data: fingerprints {', '.join(self.data)}")
        if extra := sorted(set(self.results) - set(self.expected)):
            found.append(f"not counted, since the suite does not list them: seeds {', '.join(map(str, extra))}")
        return found

    def notes(self) -> list[str]:
        """The departures that the results themselves tell of, and whether they are of an earlier configuration."""
        found = [note for result in self.counted for note in result.notes]
        if earlier := [seed for seed in self.seeds if self.results[seed][1].config_hash != self._today(seed)]:
            plural = "s" if len(earlier) > 1 else ""
            whose = "" if len(earlier) == len(self.seeds) else f"seed{plural} {', '.join(map(str, earlier))}: "
            found.append(f"{whose}{EARLIER}; retrieval-bench run {self.suite} renews it")
        return list(dict.fromkeys(found))

    def _today(self, seed: int) -> str:
        return self.planned.get(seed, self.results[seed][1].config_hash)


@dataclass(frozen=True)
class Board:
    """All settings measured in one way, best first.

    Attributes:
        protocol: The way; its list of metrics is the union over the results.
        rows: The settings.
    """

    protocol: Protocol
    rows: tuple[Row, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics some result has: the protocol's in their order, then others."""
        found = [key for row in self.rows for result in row.counted for key in result.metrics]
        return tuple(dict.fromkeys([*(k for k in self.protocol.metrics if k in found), *found]))


def boards(results: Mapping[Path, Result], suites: Mapping[str, Suite] | None = None) -> list[Board]:
    """Gather results, one board for each data set and protocol fingerprint.

    Args:
        results: By file.
        suites: The suites that are known, by name: they say which seeds and settings a table should have. Of any other
            suite, a row should have the seeds that some row of its table has.

    Raises:
        BenchError: If one run is there twice.
    """
    suites = suites or {}
    groups: dict[tuple[str, str, str], dict[Path, Result]] = defaultdict(dict)
    protocols: dict[tuple[str, str], Protocol] = {}
    for path, result in results.items():
        place = (result.protocol.dataset, result.protocol.fingerprint)
        protocols.setdefault(place, result.protocol)
        groups[(*place, result.run.suite)][path] = result
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for (dataset, fingerprint, name), members in groups.items():
        # A suite whose data changed has two boards; which of them a missing setting belongs to nobody can say.
        alone = sum(d == dataset and s == name for d, _, s in groups) == 1
        rows[dataset, fingerprint] += _rows(name, members, suites.get(name), fill=alone)
    return [Board(protocols[p], _ranked(rows[p], protocols[p].main_metric)) for p in sorted(rows)]


def _rows(name: str, results: Mapping[Path, Result], suite: Suite | None, *, fill: bool) -> list[Row]:
    seeds: dict[tuple[str, str | None], dict[int, tuple[Path, Result]]] = defaultdict(dict)
    for path, result in results.items():
        row = seeds[result.run.method, result.run.variant]
        if result.run.seed in row:
            raise BenchError(f"{result.run.name} of suite {name} is there twice: {row[result.run.seed][0]} and {path}")
        row[result.run.seed] = (path, result)
    if suite and fill:
        for setting in suite.settings():
            seeds.setdefault(setting, {})
    expected = suite.seeds if suite else sorted({seed for row in seeds.values() for seed in row})
    planned = planned_hashes(suite) if suite else {}
    rows = []
    for (method, variant), row in seeds.items():
        today = {seed: planned[result.run] for seed, (_, result) in row.items() if result.run in planned}
        rows.append(Row(name, method, variant, tuple(expected), row, today))
    return rows


def _ranked(rows: Iterable[Row], main: str) -> tuple[Row, ...]:
    def place(row: Row) -> tuple[float, str, str]:
        spread = row.metric(main)
        return (-spread.mean if spread else 1.0, row.setting, row.suite)

    return tuple(sorted(rows, key=place))
