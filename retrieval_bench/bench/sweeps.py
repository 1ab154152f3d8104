"""Sweeps: settings that differ in one option alone are a curve; those without a value of it stand beside them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.settings import COSTS, Setting, find_option

Groups = list[list[Setting]]


@dataclass(frozen=True)
class Sweep:
    """Settings as the curves of a chart.

    Attributes:
        axis: What x is: an option's dotted name, or a cost.
        option: The option that changes along a curve; the axis itself, unless that is a cost.
        curves: Settings that differ in this option alone.
        levels: Settings without the option beside them; those of one level differ in their names alone.
        left_out: Sentences on all others.
    """

    axis: str
    option: str
    curves: Groups
    levels: Groups
    left_out: list[str]

    def x(self, setting: Setting) -> Any:
        """Where a setting stands."""
        return setting.row.cost(self.axis) if self.axis in COSTS else setting.options.get(self.axis)

    def nearest(self, setting: Setting) -> int | None:
        """The curve that a setting differs from in the fewest other options, None if several are as near."""
        apart = {
            i: len(setting.differing(curve[0]) - {self.option})
            for i, curve in enumerate(self.curves)
            if curve[0].place == setting.place
        }
        found = [i for i, many in apart.items() if many == min(apart.values())]
        return found[0] if len(found) == 1 else None


def find_sweep(settings: Sequence[Setting], name: str) -> Sweep:
    """The curves against an option or a cost.

    A setting that lacks the option, or has null, is a level beside the curves of its method and protocol; where the
    option is no number, null is one more choice.

    Args:
        settings: All there are.
        name: A cost, or an option's dotted name or the end of it. What a setting costs follows from its options: a
            curve is along the one that puts the most settings on the fewest curves.

    Raises:
        BenchError: If there is no such option or cost, or the name fits several options.
    """
    if name in COSTS:
        return _over_cost(settings, name)
    option = find_option(settings, name)
    groups = _groups((setting for setting in settings if setting.options.get(option) is not None), option)
    lacking = [setting for setting in settings if setting.options.get(option) is None]
    if not are_numbers({setting.options[option] for group in groups.values() for setting in group}):
        for setting in lacking:
            if setting.all_but(option) in groups:
                groups[setting.all_but(option)].append(setting)
        lacking = [setting for setting in lacking if setting.all_but(option) not in groups]
    swept = [group for group in groups.values() if len({setting.options.get(option) for setting in group}) > 1]
    places = {group[0].place for group in swept}
    levels = _groups((setting for setting in lacking if setting.place in places), option)
    left_out = [f"{setting.name}: it has no option {option}" for setting in lacking if setting.place not in places]
    curves = swept or list(groups.values())
    return Sweep(option, option, curves, list(levels.values()), left_out + _alone(groups.values(), curves, option))


def are_numbers(values: Collection[Any]) -> bool:
    """Whether all are numbers; a truth value is none."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _over_cost(settings: Sequence[Setting], cost: str) -> Sweep:
    known = [setting for setting in settings if setting.row.cost(cost) is not None]
    left_out = [
        f"{setting.name}: {'; '.join(setting.row.gaps('')) or f'its {cost} was not measured'}"
        for setting in settings
        if setting.row.cost(cost) is None
    ]
    if not known:
        raise BenchError(f"no setting has {cost} of all its seeds: {'; '.join(left_out)}")
    options = dict.fromkeys(option for setting in known for option in setting.options)
    changed = [option for option in options if len({setting.options.get(option) for setting in known}) > 1]

    def swept(option: str) -> Groups:
        groups = _groups(known, option).values()
        return [group for group in groups if len({setting.row.cost(cost) for setting in group}) > 1]

    def merit(option: str) -> tuple[int, int]:
        curves = swept(option)
        return sum(map(len, curves)), -len(curves)

    option = max(changed, key=merit, default="")
    curves = swept(option)
    if not curves:
        return Sweep(cost, option, [[setting] for setting in known], [], left_out)
    return Sweep(cost, option, curves, [], left_out + _alone(_groups(known, option).values(), curves, option))


def _groups(settings: Iterable[Setting], option: str) -> dict[str, list[Setting]]:
    """Settings that differ in one option alone."""
    groups: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        groups[setting.all_but(option)].append(setting)
    return groups


def _alone(groups: Iterable[list[Setting]], curves: Groups, option: str) -> list[str]:
    alone = [setting for group in groups if group not in curves for setting in group]
    last = option.rpartition(".")[2]
    return [f"{setting.name}: no other setting differs from it in {last} alone" for setting in alone]
