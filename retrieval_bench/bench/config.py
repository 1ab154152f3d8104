"""Stacked configs as plain data: merged, and named by a hash that ignores where and on what a run happens."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import PurePath
from typing import Any

from retrieval_bench.bench.errors import SuiteError

VOLATILE = (
    "data.root",
    "data.init_args.root",
    "data.init_args.reference_root",
    "data.num_workers",
    "data.cache",
    "data.init_args.num_workers",
    "data.init_args.cache",
    "trainer.accelerator",
    "trainer.logger",
    "trainer.run_dir",
    "trainer.wandb",
    "trainer.enable_progress_bar",
    "trainer.first_phases",
)
"""Options that say where a run happens and how it is watched; scores do not depend on them."""

USUAL = {"trainer.devices": 1, "trainer.num_nodes": 1}
"""Batches are per process, so several processes are another configuration; saying that there is one is not."""

FILES = ("model.weights", "model.init_args.weights", "model.init_args.projection")
"""Options that name a file: what it is called matters, where it lies does not."""


def merge(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Stack configs: mappings are merged, a list under ``key+`` is added to that of ``key``, all else is replaced.

    Args:
        configs: Nested mappings, lowest first.
    """
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in config.items():
            if key.endswith("+") and isinstance(value, list):  # as the run's own parser reads it
                name = key[:-1]
                merged[name] = [*(merged.get(name) or []), *deepcopy(value)]
                continue
            below = merged.get(key)
            both = isinstance(value, Mapping) and isinstance(below, Mapping)
            merged[key] = merge(below, value) if both else deepcopy(value)  # type: ignore[arg-type]  # both is known
    return merged


def nest(options: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted options as nested mappings.

    Args:
        options: For instance ``{"trainer.max_steps": 60}``.

    Raises:
        SuiteError: If one option is both a value and a group of options.
    """
    nested: dict[str, Any] = {}
    for dotted, value in options.items():
        *groups, last = str(dotted).split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise SuiteError(f"option {dotted}: {group} already has a value of its own")
        if isinstance(place.get(last), dict) and not isinstance(value, Mapping):
            raise SuiteError(f"option {dotted}: {last} is already a group of options")
        place[last] = merge(place[last], value) if isinstance(place.get(last), dict) else deepcopy(value)
    return nested


def _place(config: dict[str, Any], dotted: str) -> tuple[dict[str, Any], str]:
    """The group that an option is in, an empty one if there is none, and its name there."""
    *groups, last = dotted.split(".")
    place: Any = config
    for group in groups:
        place = place.get(group) if isinstance(place, dict) else None
    return (place if isinstance(place, dict) else {}), last


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what scores do not depend on, and without the seed, which is a coordinate of the run."""
    stable = deepcopy(dict(config))
    stable.pop("seed_everything", None)
    for dotted in VOLATILE:
        place, last = _place(stable, dotted)
        place.pop(last, None)
    for dotted, usual in USUAL.items():
        place, last = _place(stable, dotted)
        if place.get(last) == usual:
            del place[last]
    for dotted in FILES:
        place, last = _place(stable, dotted)
        if isinstance(place.get(last), str):
            place[last] = PurePath(place[last]).name
    return stable


def config_hash(config: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> str:
    """Sixteen hexadecimal digits that name a configuration.

    All seeds of a setting share one hash, so that a table can refuse to average over two configurations.

    Args:
        config: The merged config.
        facts: What else changes a result.
    """
    text = json.dumps({"config": comparable(config), "facts": facts or {}}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
