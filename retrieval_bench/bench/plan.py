"""From a suite to its runs: which config files, which folder, which data, and the hash that names it all."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retrieval_bench.bench.config import config_hash, merge, nest
from retrieval_bench.bench.errors import BenchError, SuiteError
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import RunId
from retrieval_bench.bench.suite import FULL, Suite, read_yaml


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run to make.

    Attributes:
        id: Its coordinates.
        configs: The config files, lowest first.
        overrides: What the suite adds on top, as a nested mapping.
        folder: Where everything about the run is written.
        data_root: The folder of the data set.
        miniature: Whether that is a synthesized miniature.
        compare_untrained: Whether the network is also measured before it is fitted.
        notes: Footnotes for its result.
        config_hash: Names the merged configuration.
        devices: How many processes it is on each machine; None where its config leaves that to what is found.
        nodes: How many machines it takes.
    """

    id: RunId
    configs: tuple[Path, ...]
    overrides: Mapping[str, Any]
    folder: Path
    data_root: Path
    miniature: bool
    compare_untrained: bool
    notes: tuple[str, ...]
    config_hash: str
    devices: int | None = 1
    nodes: int = 1


def expand(suite: Suite, *, output: Path, data_dir: Path) -> list[Run]:
    """The runs of a suite.

    Args:
        suite: The suite.
        output: The folder of results; runs lie in ``runs/<suite>/<run>`` below it.
        data_dir: The folder of the data sets; miniatures lie in ``miniature`` below it.

    Raises:
        SuiteError: If a config file is missing; the message names the file that was looked for.
    """
    return [_run(suite, run, output, data_dir) for run in suite.ids()]


def _run(suite: Suite, run: RunId, output: Path, data_dir: Path) -> Run:
    choice = suite.datasets[run.dataset]
    usual = data_dir / "miniature" / run.dataset if choice.miniature else data_dir / run.dataset
    files = config_files(suite, run)
    options = {**suite.options, **suite.method_options.get(run.method, {})}
    overrides, stacked = nest(options), merge(*(read_yaml(file) or {} for file in files))
    for option, value in options.items():
        _demand_fit(stacked, str(option), value, suite)
    merged = merge(stacked, overrides)
    return Run(
        id=run,
        configs=files,
        overrides=overrides,
        folder=output / "runs" / suite.name / run.name,
        data_root=choice.root or usual,
        miniature=choice.miniature,
        compare_untrained=suite.compare_untrained,
        notes=tuple(suite.notes),
        config_hash=_hash(merged, miniature=choice.miniature, compare_untrained=suite.compare_untrained),
        devices=_devices(merged),
        nodes=_nodes(merged, suite),
    )


def _devices(merged: Mapping[str, Any]) -> int | None:
    """How many processes a config asks for on each machine, None for as many as are found (``auto``, ``-1``)."""
    devices = (merged.get("trainer") or {}).get("devices", 1)
    return devices if type(devices) is int and devices > 0 else None


def _nodes(merged: Mapping[str, Any], suite: Suite) -> int:
    nodes = (merged.get("trainer") or {}).get("num_nodes", 1)
    if type(nodes) is not int or nodes < 1:
        raise SuiteError(f"suite {suite.name}: trainer.num_nodes is {nodes!r}, expected a whole number from 1")
    return nodes


def _hash(merged: Mapping[str, Any], *, miniature: bool, compare_untrained: bool) -> str:
    return config_hash(merged, {"miniature": miniature, "compare_untrained": compare_untrained})


def hash_today(run: Run) -> str:
    """The hash that a run would have if it were planned now: its config files may have been edited meanwhile.

    Raises:
        SuiteError: If one of them is gone.
    """
    merged = merge(*(read_yaml(file) or {} for file in run.configs), run.overrides)
    return _hash(merged, miniature=run.miniature, compare_untrained=run.compare_untrained)


def _demand_fit(stacked: Mapping[str, Any], option: str, value: Any, suite: Suite) -> None:
    """Refuse a single value in the place of a group of options, and options inside of a number.

    Nothing, a switch, and the name of a class are what may stand for a group; for a whole section nothing may.
    """
    place: Any = stacked
    groups = option.split(".")
    for depth, group in enumerate(groups, start=1):
        place = place.get(group) if isinstance(place, Mapping) else None
        if depth < len(groups) and isinstance(place, (int, float)) and not isinstance(place, bool):
            raise SuiteError(f"suite {suite.name}: option {option}: {'.'.join(groups[:depth])} is a value, not a group")
    if not isinstance(place, Mapping) or isinstance(value, Mapping):
        return
    named = isinstance(value, str) and "class_path" in place
    if not named and (len(groups) == 1 or not (value is None or isinstance(value, bool))):
        raise SuiteError(
            f"suite {suite.name}: option {option} is a group of options and cannot be {value!r}; "
            f"name one of its own: {', '.join(f'{option}.{key}' for key in list(place)[:6])}"
        )


def planned_hashes(suite: Suite) -> dict[RunId, str]:
    """The configuration that each run of a suite would have today; none if its config files are gone or do not fit."""
    one_seed = replace(suite, seeds=suite.seeds[:1])  # the seed is no part of the configuration
    try:
        runs = expand(one_seed, output=Path(), data_dir=Path())
    except BenchError:
        return {}
    return {replace(run.id, seed=seed): run.config_hash for run in runs for seed in suite.seeds}


def config_files(suite: Suite, run: RunId) -> tuple[Path, ...]:
    """The config files of a run, lowest first.

    Raises:
        SuiteError: If one is missing.
    """
    stack, method = suite.benchmarks, Path("methods") / run.method
    wanted = {
        stack / "trainer.yaml": "the trainer",
        stack / "datasets" / f"{run.dataset}.yaml": f"the data set {run.dataset}",
        stack / f"{method}.yaml": f"the method {run.method}",
    }
    if run.variant:
        wanted[stack / method / f"{run.variant}.yaml"] = f"the variant {run.variant} of {run.method}"
    wanted |= {stack / name: "the suite's configs" for name in suite.configs}
    for file, purpose in wanted.items():
        if not file.is_file():
            there = sorted(p.stem for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
            raise SuiteError(
                f"suite {suite.name}: there is no config file {file} for {purpose}{suggestion(file.stem, there)}"
            )
    return tuple(wanted)


def select(
    runs: list[Run],
    *,
    datasets: Collection[str] = (),
    methods: Collection[str] = (),
    variants: Collection[str] = (),
    seeds: Collection[int] = (),
    limit: int | None = None,
) -> list[Run]:
    """The runs that pass every filter; an empty filter lets all pass.

    Args:
        runs: Runs of a suite.
        datasets: Data sets to keep.
        methods: Methods to keep.
        variants: Variants to keep, ``full`` for a method's own config.
        seeds: Seeds to keep.
        limit: How many to keep at most.

    Raises:
        SuiteError: If a filter names what the suite does not have.
    """
    kept = runs
    filters: dict[str, tuple[Collection[Any], Any]] = {
        "dataset": (datasets, lambda run: run.id.dataset),
        "method": (methods, lambda run: run.id.method),
        "variant": (variants, lambda run: run.id.variant or FULL),
        "seed": (seeds, lambda run: run.id.seed),
    }
    for name, (wanted, read) in filters.items():
        known = list(dict.fromkeys(str(read(run)) for run in runs))
        for value in wanted:
            if str(value) not in known:
                raise SuiteError(f"the suite has no {name} {value}{suggestion(str(value), known)}")
        if wanted:
            kept = [run for run in kept if read(run) in wanted]
    return kept[:limit]


def data_folder() -> Path:
    """The folder of the data sets: ``$RETRIEVAL_BENCH_DATA``, or ``data``."""
    return Path(os.environ.get("RETRIEVAL_BENCH_DATA") or "data")
