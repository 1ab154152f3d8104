"""Pages from templates: what every template may use, and how it writes numbers."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from retrieval_bench.bench.leaderboard import describe
from retrieval_bench.bench.report import plots
from retrieval_bench.bench.report.entries import Entry, dataset_page, paper_file
from retrieval_bench.bench.results import Cost
from retrieval_bench.bench.summary import Spread
from retrieval_bench.bench.words import MISSING, duration, magnitude, metric_label, number, signed, spread

if TYPE_CHECKING:
    from jinja2 import Environment


def make_environment() -> "Environment":
    """The templates; they escape whatever they are given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("retrieval_bench.bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"label": metric_label, "describe": describe, "signed": signed, "chart": plots}
    environment.globals |= {"dataset_page": dataset_page, "paper_file": paper_file, "verdict": _VERDICTS.get}
    environment.globals |= {"percent": _percent, "percentage": _percentage, "p_value": _p_value, "plain": _plain}
    environment.globals |= {"plain_name": _plain_name, "moment": moment}
    return environment


_VERDICTS = {"noise": "within noise", "better": "A is better", "worse": "B is better"}


def moment(finished: str) -> str:
    """A moment to the minute, in one time zone for all."""
    return f"{datetime.fromisoformat(finished).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _percent(value: Spread | None) -> str:
    """A mean and its deviation as percentages, as the tables write them."""
    return spread(100 * value.mean, None if value.std is None else 100 * value.std, 1) if value else MISSING


def _percentage(fraction: float | None) -> str:
    return number(None if fraction is None else 100 * fraction, 2)


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plain(cost: Cost, name: str) -> str:
    """One cost, in the unit a person would say it in."""
    value: float | None = getattr(cost, name)
    if name.endswith("_seconds"):
        return duration(value)
    return f"{value:,.0f}" if value is not None and value >= 10_000 else magnitude(value)


def _plain_name(name: str) -> str:
    """A field's name as a person would write it."""
    words = name.removesuffix("_seconds").replace("_mib", " (MiB)").replace("_gib", " (GiB)")
    return words.replace("_", " ")


def environment_of(entry: Entry) -> dict[str, dict[str, list[int]]]:
    """What each seed ran on: by the fact's name, each value with the seeds that have it."""
    facts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for seed in entry.row.seeds:
        result = entry.row.results[seed][1]
        code = result.code
        commit = f", commit {code.commit}" if code.commit else ""
        known = {"code": f"retrieval_bench {code.version}{commit}{', with local changes' if code.dirty else ''}"}
        for name, value in result.hardware.items():
            known[_plain_name(name)] = (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
        known["packages"] = ", ".join(f"{name} {version}" for name, version in result.packages.items())
        if result.checkpoint:
            known["checkpoint"] = f"{result.checkpoint.file}, SHA-256 {result.checkpoint.sha256}"
        known["finished"] = moment(result.finished)
        for name, value in known.items():
            facts[name][value].append(seed)
    return facts
