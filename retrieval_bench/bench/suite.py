"""Suites: a short YAML file that names methods, data sets and seeds, and the list of runs that follows from it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from retrieval_bench.bench.errors import SuiteError
from retrieval_bench.bench.records import build, suggestion
from retrieval_bench.bench.results import RunId

FULL = "full"
"""The variant that is the method's own config."""

# The same language read ten times faster, where PyYAML was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

SUITES = Path("benchmarks/suites")
"""The usual place of suites, below the working folder."""


@dataclass(frozen=True, kw_only=True)
class DatasetChoice:
    """How a suite uses a data set.

    Attributes:
        miniature: Whether a synthesized miniature stands in for it.
        root: Its folder, or None for the usual place.
    """

    miniature: bool = False
    root: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What a suite file says.

    Attributes:
        name: The file's name without ``.yaml``.
        benchmarks: The folder of the config stack.
        description: What it is for.
        datasets: The data sets, each with how it is used.
        methods: For each method its variants; ``full`` is the method's own config.
        seeds: One run of each for every seed.
        configs: Further config files, stacked last, relative to the folder of the config stack.
        options: Dotted options for every run.
        method_options: For some methods, dotted options on top of these.
        method_datasets: For some methods, on which of the data sets they run; others run on all.
        compare_untrained: Whether the network is also measured before it is fitted.
        notes: Footnotes for every result, for instance what was made smaller.
    """

    name: str
    benchmarks: Path
    description: str = ""
    datasets: dict[str, DatasetChoice]
    methods: dict[str, list[str]]
    seeds: list[int]
    configs: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    method_datasets: dict[str, list[str]] = field(default_factory=dict)
    compare_untrained: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("datasets", "methods", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, so there is nothing to run")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds are {self.seeds}, expected different numbers from 0 on")
        for name in ("method_options", "method_datasets"):
            for method in getattr(self, name):
                if method not in self.methods:
                    raise ValueError(f"{name}.{method}: no such method here{suggestion(method, self.methods)}")
        for method, chosen in self.method_datasets.items():
            for dataset in chosen:
                if dataset not in self.datasets:
                    hint = suggestion(dataset, self.datasets)
                    raise ValueError(f"method_datasets.{method}: no such data set here: {dataset}{hint}")

    def settings(self) -> Iterator[tuple[str, str | None]]:
        """Every method with each of its variants, None for its own config."""
        for method, variants in self.methods.items():
            yield from ((method, None if variant == FULL else variant) for variant in variants)

    def ids(self) -> Iterator[RunId]:
        """The coordinates of every run, in the order of the file."""
        for dataset, (method, variant), seed in product(self.datasets, self.settings(), self.seeds):
            if dataset not in self.method_datasets.get(method, self.datasets):
                continue
            yield RunId(suite=self.name, dataset=dataset, method=method, variant=variant, seed=seed)


def with_options(suite: Suite, assignments: Collection[str]) -> Suite:
    """A suite with options set from outside, which win over its own.

    Args:
        suite: The suite.
        assignments: Each ``dotted.option=value``, the value in YAML.

    Raises:
        SuiteError: If one is not of that form.
    """
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        option, equals, value = assignment.partition("=")
        if not (option and equals):
            raise SuiteError(f"--set {assignment}: expected an option and its value, as in trainer.max_steps=100")
        if not all(part.strip() for part in option.split(".")):
            raise SuiteError(f"--set {assignment}: {option} has an empty part; an option reads like trainer.max_steps")
        try:
            chosen[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SuiteError(f"--set {assignment}: the value is no YAML ({' '.join(str(error).split())})") from error
    methods = {method: {**options, **chosen} for method, options in suite.method_options.items()}
    return replace(suite, options={**suite.options, **chosen}, method_options=methods)


def find_suite(name: str) -> Path:
    """The file of a suite given by its path or by its name.

    Raises:
        SuiteError: If there is none; the message lists the suites there are.
    """
    path, usual = Path(name), SUITES / f"{Path(name).stem}.yaml"
    for place in (path, usual):
        if place.is_file() and (place is path or path.parent == Path()):
            return place
    known = sorted(p.stem for p in SUITES.glob("*.yaml"))
    raise SuiteError(f"there is no suite {name}: neither a file {path} nor {usual}{suggestion(path.stem, known)}")


def known_suites(names: Collection[str]) -> dict[str, Suite]:
    """Those of the named suites that have a file in the usual place."""
    files = {name: SUITES / f"{name}.yaml" for name in sorted(names)}
    return {name: read_suite(file) for name, file in files.items() if file.is_file()}


def read_suite(path: Path) -> Suite:
    """Read a suite file.

    Args:
        path: The YAML file. The config stack is the folder above its own, or ``benchmarks`` where that holds none.

    Raises:
        SuiteError: If it cannot be read.
        RecordError: If a key is unknown, missing or of the wrong type.
    """
    content = read_yaml(path)
    if isinstance(content, Mapping):
        content = dict(content)
        for reserved in ("name", "benchmarks"):
            if reserved in content:
                raise SuiteError(f"{path}: {reserved}: unknown field (the suite is named after its file)")
        for key, empty in (("datasets", {}), ("methods", [FULL])):
            if isinstance(content.get(key), (list, dict)):
                content[key] = _mapping(content[key], empty)
        above = path.resolve().parent.parent
        stack = above if (above / "trainer.yaml").is_file() else Path("benchmarks").resolve()
        content |= {"name": path.stem, "benchmarks": str(_shortest(stack))}
    return build(Suite, content, file=path)


def _mapping(value: list[Any] | dict[str, Any], empty: Any) -> dict[str, Any]:
    """``[a, {b: x}]`` and ``{a: null, b: x}`` are the same thing."""
    pairs: list[tuple[str, Any]] = []
    for item in [value] if isinstance(value, dict) else value:
        pairs += item.items() if isinstance(item, dict) else [(item, None)]
    return {key: empty if choice is None else choice for key, choice in pairs}


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        SuiteError: If it is missing or no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: this is no YAML ({' '.join(str(error).split())})") from error
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read ({error.strerror})") from error


def _shortest(path: Path) -> Path:
    """The path as a person would type it: relative where it lies below the working folder."""
    here = Path.cwd().resolve()
    return path.relative_to(here) if path.is_relative_to(here) else path
