"""A setting with its options: how one is found by its name, and what tells settings apart."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

from retrieval_bench.bench.config import comparable
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import Cost, Result
from retrieval_bench.bench.summary import Row
from retrieval_bench.retrieval.protocol import Protocol

COSTS = tuple(field.name for field in fields(Cost))
"""What a result says of its cost."""


@dataclass(frozen=True)
class Setting:
    """A row of a table with at least one result.

    Attributes:
        protocol: How it was measured.
        row: Its seeds.
        options: What its config says, by dotted names; a list is one value unless it holds groups of options.
    """

    protocol: Protocol
    row: Row
    options: Mapping[str, Any]

    @classmethod
    def of(cls, protocol: Protocol, row: Row) -> "Setting":
        """The setting of a row, with the options that scores may depend on."""
        return cls(protocol, row, _flat(comparable(row.counted[0].config)))

    @property
    def name(self) -> str:
        """For instance ``cub/abir-no_se``."""
        return f"{self.protocol.dataset}/{self.row.setting}"

    @property
    def results(self) -> list[Result]:
        """One a seed."""
        return self.row.counted

    @property
    def place(self) -> tuple[str, str, str]:
        """What settings of one chart's curve share in any case: data set, way of measuring and method."""
        return self.protocol.dataset, self.protocol.fingerprint, self.row.method

    def all_but(self, option: str) -> str:
        """What two settings share if they differ in one option alone; one that is null may as well not be there."""
        rest = {name: value for name, value in self.options.items() if name != option and value is not None}
        return json.dumps([self.place, rest], sort_keys=True, default=str)

    def differing(self, other: "Setting") -> set[str]:
        """The options in which two settings differ."""
        names = self.options.keys() | other.options.keys()
        return {name for name in names if self.options.get(name) != other.options.get(name)}


def _flat(config: Any, name: str = "") -> dict[str, Any]:
    if isinstance(config, Mapping) and config:
        below = config.items()
    elif isinstance(config, list) and any(isinstance(item, Mapping) for item in config):
        below = dict(enumerate(config)).items()
    else:
        # A value must be able to be a key: several settings that share it are one point.
        return {name: json.dumps(config) if isinstance(config, (list, Mapping)) else config}
    flat: dict[str, Any] = {}
    for key, value in below:
        flat |= _flat(value, f"{name}.{key}" if name else str(key))
    return flat


def find_option(settings: Sequence[Setting], name: str) -> str:
    """The dotted name of an option.

    Args:
        settings: Some that may have it.
        name: Its dotted name, or the end of it: ``bits`` for ``model.init_args.bits``.

    Raises:
        BenchError: If there is none, or several; the message names those there are.
    """
    known: dict[str, set[Any]] = {}
    for setting in settings:
        for option, value in setting.options.items():
            known.setdefault(option, set()).add(value)
    found = [name] if name in known else [option for option in known if option.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise BenchError(f"several options end in {name}: {', '.join(found)}; name one of them")
    changed = [option for option, values in known.items() if len(values) > 1]
    hint = f"; those that differ: {', '.join(changed)}" if changed else suggestion(name, [_last(o) for o in known])
    raise BenchError(f"no result has an option {name}{hint}; costs are {', '.join(COSTS)}")


def curve_names(groups: Sequence[Sequence[Setting]]) -> list[str]:
    """A name for each group of settings: what its variants have in common, and as much else as tells it from others.

    Args:
        groups: Settings of one method and protocol each, for instance the variants ``triplet_16`` and ``triplet_32``,
            which are called ``triplet``.
    """
    several_methods = len({group[0].row.method for group in groups}) > 1
    names = [_common_name(group, with_method=several_methods) for group in groups]
    always: tuple[Callable[[Setting], str], ...] = (
        lambda setting: setting.protocol.dataset,
        lambda setting: setting.protocol.name,
        lambda setting: setting.protocol.edition,
    )
    for fact in always:
        if len({fact(group[0]) for group in groups}) > 1:
            names = [f"{name}, {fact(group[0])}" for name, group in zip(names, groups, strict=True)]
    for tell_apart in (_by_suite, _by_options):
        alike = Counter(names)
        names = [
            tell_apart(name, group, [g for g, n in zip(groups, names, strict=True) if n == name])
            if alike[name] > 1
            else name
            for name, group in zip(names, groups, strict=True)
        ]
    return names


def _common_name(group: Sequence[Setting], *, with_method: bool) -> str:
    method = group[0].row.method
    variants = [setting.row.variant.split("_") for setting in group if setting.row.variant]
    # One of them may be there under the name that it has in another sweep.
    first, times = Counter(words[0] for words in variants).most_common(1)[0] if variants else ("", 0)
    if 2 * times > len(group):
        variants = [words for words in variants if words[0] == first]
    shared = takewhile(lambda words: len(set(words)) == 1, zip(*variants, strict=False))
    stem = "_".join(words[0] for words in shared)
    if not stem:
        return method
    return f"{method}-{stem}" if with_method else stem


def _by_suite(name: str, group: Sequence[Setting], alike: Sequence[Sequence[Setting]]) -> str:
    suites = {other[0].row.suite for other in alike}
    return f"{name}, suite {group[0].row.suite}" if len(suites) > 1 else name


def _by_options(name: str, group: Sequence[Setting], alike: Sequence[Sequence[Setting]]) -> str:
    options = dict.fromkeys(option for other in alike for setting in other for option in setting.options)
    fixed = [o for o in options if all(len({s.options.get(o) for s in other}) == 1 for other in alike)]
    differing = [o for o in fixed if len({other[0].options.get(o) for other in alike}) > 1]
    return ", ".join([name, *(f"{_last(o)} {group[0].options.get(o)}" for o in differing)])


def _last(option: str) -> str:
    return option.rpartition(".")[2]
