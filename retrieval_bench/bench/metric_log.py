"""What a run logged while it trained, epoch by epoch, however often it was cut short."""

import csv
import math
from collections import defaultdict
from pathlib import Path

from retrieval_bench.bench.errors import RecordError

_COORDINATES = ("epoch", "step")


def read_log(folder: Path) -> dict[str, dict[int, float]]:
    """Read the curves of a run: for each logged column its value by epoch, the mean where an epoch logged several.

    An epoch in which a value was not finite has none.

    Each piece of a run that was cut short has a file of its own. What a later piece trained again counts once: of the
    earlier ones, only the steps before its first.

    Args:
        folder: The run's, with ``metrics/version_<n>/metrics.csv`` as Lightning's CSVLogger writes it.

    Raises:
        RecordError: If a file holds what is no number; the message names it.
    """
    pieces = [file for file in folder.glob("metrics/version_*/metrics.csv") if _version(file).isdecimal()]
    logged: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for file in sorted(pieces, key=lambda file: int(_version(file))):
        for column, later in _read_piece(file).items():
            first = min(step for step, _, _ in later)
            logged[column] = [entry for entry in logged[column] if entry[0] < first] + later
    return {column: _by_epoch(entries) for column, entries in logged.items()}


def _version(file: Path) -> str:
    return file.parent.name.removeprefix("version_")


def _read_piece(file: Path) -> dict[str, list[tuple[int, int, float]]]:
    """For each column its step, epoch and value, row by row."""
    entries: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        try:
            for row in rows:
                if not (row.get("epoch") and row.get("step")):
                    continue
                epoch, step = int(row["epoch"]), int(row["step"])
                for column in rows.fieldnames or ():
                    if column not in _COORDINATES and row[column]:
                        entries[column].append((step, epoch, float(row[column])))
        except (ValueError, csv.Error) as error:
            raise RecordError(f"{file}, line {rows.line_num}: {error}") from error
    return entries


def _by_epoch(entries: list[tuple[int, int, float]]) -> dict[int, float]:
    values: dict[int, list[float]] = defaultdict(list)
    for _, epoch, value in entries:
        values[epoch].append(value)
    means = {epoch: sum(values[epoch]) / len(values[epoch]) for epoch in sorted(values)}
    return {epoch: mean for epoch, mean in means.items() if math.isfinite(mean)}
