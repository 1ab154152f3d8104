"""How numbers and metrics are written in tables."""

import re

MISSING = "—"

_NAMES = {
    "map": "mAP",
    "map_oxford": "mAP (Oxford)",
    "map_at_r": "mAP@R",
    "r_precision": "R-precision",
    "localisation_at_50": "localised",
    "search_time": "search time",
}


def metric_label(key: str) -> str:
    """The head of a metric's column, for instance ``R@1`` for ``recall_at_1``."""
    if at := re.fullmatch(r"(recall|precision|capped_precision|map)_at_(\d+)", key):
        return {"recall": "R@", "precision": "P@", "capped_precision": "mP@", "map": "mAP@"}[at[1]] + at[2]
    if bound := re.fullmatch(r"(.+)_(optimistic|pessimistic|index)", key):
        return f"{metric_label(bound[1])} {bound[2]}"
    return _NAMES.get(key, key.replace("_", " "))


def number(value: float | None, decimals: int) -> str:
    """A number with a true minus, or the sign for a missing one."""
    return MISSING if value is None else f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int) -> str:
    """A difference, always with its sign; what rounds to nothing is ±0."""
    if value is None:
        return MISSING
    text = f"{value:+.{decimals}f}"
    return f"±{text[1:]}" if float(text) == 0 else text.replace("-", "−")


def spread(mean: float | None, std: float | None, decimals: int) -> str:
    """Mean ± standard deviation; one seed has no deviation."""
    return number(mean, decimals) + (f" ± {std:.{decimals}f}" if mean is not None and std is not None else "")


def duration(seconds: float | None) -> str:
    """A training time in the unit a person would say it in."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def magnitude(value: float | None) -> str:
    """A cost with three significant digits at least, never in powers of ten."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def count(number_of: int, word: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number_of} {word}{'' if number_of == 1 else 's'}"
