"""The result of one run: one JSON file, versioned, written whole or not at all, checked when it is read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.records import build
from retrieval_bench.retrieval.protocol import Protocol

RESULT_FILE = "result.json"
ASIDE = ".old-"
"""Part of the name of a folder that holds an earlier configuration's run, moved aside; its result is in no table."""


def _check_metrics(metrics: Mapping[str, float] | None, name: str) -> None:
    for key, value in (metrics or {}).items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}.{key} is {value}, but metrics are fractions between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class RunId:
    """Which run: the coordinates of one number in the tables."""

    suite: str
    dataset: str
    method: str
    variant: str | None
    seed: int

    @property
    def setting(self) -> str:
        """The method and its variant in one word."""
        return f"{self.method}-{self.variant}" if self.variant else self.method

    @property
    def name(self) -> str:
        """For instance ``cub/abir-no_se/s0``."""
        return f"{self.dataset}/{self.setting}/s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was read: the table's fingerprint, the edition and the counts per role."""

    fingerprint: str
    edition: str
    counts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The file whose numbers a result holds: where it lies beside the result, its SHA-256 and its size."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Code:
    """Which code ran; ``commit`` is null outside a checkout, ``dirty`` says that the checkout had local changes."""

    version: str
    commit: str | None
    dirty: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method asks for, measured the same way for all; null where it was not measured.

    Attributes:
        parameters: Of all layers, those that only training needs included; fitted statistics are not in it.
        gmac_per_image: Billions of multiply-adds of convolutions and matrix products to describe a picture.
        bytes_per_image: Of what is searched.
        images_per_second: How many pictures one process describes, decoding not counted; the median over batches.
        ms_per_query: To compare a query with the whole gallery and score it; post-processing is not in it.
        training_seconds: Of fitting and training, checks on the evaluation data not counted.
        peak_memory_mib: Of the first process, from its start to its scores: on a GPU what tensors took there,
            otherwise all that the process held in the host's memory, without its loader processes.
    """

    parameters: float | None = None
    gmac_per_image: float | None = None
    bytes_per_image: float | None = None
    images_per_second: float | None = None
    ms_per_query: float | None = None
    training_seconds: float | None = None
    peak_memory_mib: float | None = None

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if value is not None and value < 0:
                raise ValueError(f"{key} is {value}, but a cost is never negative")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything worth keeping of one run.

    Attributes:
        run: Its coordinates.
        protocol: How the numbers were made.
        metrics: The numbers of the last checkpoint, fractions in [0, 1].
        before: The same numbers before anything was fitted, or None.
        best: The best on the test set, never the result itself, or None.
        per_query: The file with the values of each query, relative to the result's folder, or None.
        config: The resolved config.
        config_hash: Names the configuration (without the seed, which is a coordinate of the run).
        data: What was read.
        code: Which code ran.
        packages: Versions by name.
        hardware: What it ran on.
        cost: What it asked for.
        notes: Departures from the paper or the protocol; they become footnotes.
        checkpoint: What the numbers are of; None in results of older versions.
        finished: When, as ISO 8601 with a time zone.
        schema_version: Of this file.
    """

    run: RunId
    protocol: Protocol
    metrics: dict[str, float]
    before: dict[str, float] | None = None
    best: dict[str, float] | None = None
    per_query: str | None = None
    config: Any
    config_hash: str
    data: Data
    code: Code
    packages: dict[str, str]
    hardware: dict[str, Any]
    cost: Cost
    notes: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None
    finished: str
    schema_version: Literal[1] = 1

    def __post_init__(self) -> None:
        for name in ("metrics", "before", "best"):
            _check_metrics(getattr(self, name), name)
        if self.protocol.main_metric not in self.metrics:
            raise ValueError(f"metrics lacks the protocol's main metric {self.protocol.main_metric!r}")
        if self.protocol.dataset != self.run.dataset:
            raise ValueError(f"run.dataset is {self.run.dataset!r}, but protocol.dataset is {self.protocol.dataset!r}")
        if self.per_query is not None:
            path = PurePosixPath(self.per_query)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"per_query is {self.per_query!r}, but it must lie beside the result")
        try:
            moment = datetime.fromisoformat(self.finished)
        except ValueError as error:
            raise ValueError(f"finished is {self.finished!r}, expected ISO 8601") from error
        if moment.tzinfo is None:
            raise ValueError(f"finished is {self.finished!r}, which names no time zone")


def write_result(path: Path, result: Result) -> None:
    """Write a result, whole or not at all.

    Args:
        path: The file; its folder is made.
        result: What to write.

    Raises:
        ValueError: If the config, the hardware or the counts hold what JSON cannot.
    """
    content = asdict(result)
    content["protocol"]["fingerprint"] = result.protocol.fingerprint
    ordered = {"schema_version": content.pop("schema_version"), **content}
    try:
        text = json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the result cannot be written as JSON: {error}") from error
    write_whole(path, text + "\n")


def read_result(path: Path) -> Result:
    """Read a result and check every field.

    Args:
        path: A ``result.json``.

    Raises:
        RecordError: If the file is no JSON, a field is unknown, missing or of the wrong type, or the protocol's
            fingerprint is not that of its fields.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise RecordError(f"{path}: expected a mapping, found {type(content).__name__}")
    version = content.get("schema_version")
    if version != 1 or isinstance(version, bool):
        raise RecordError(f"{path}: schema_version: expected 1, found {version!r}; this code reads version 1 only")
    protocol = content.get("protocol")
    if not isinstance(protocol, dict) or "fingerprint" not in protocol:
        raise RecordError(f"{path}: protocol.fingerprint: this field is missing")
    stated = protocol["fingerprint"]
    content = {**content, "protocol": {k: v for k, v in protocol.items() if k != "fingerprint"}}
    result = build(Result, content, file=path)
    if stated != result.protocol.fingerprint:
        raise RecordError(
            f"{path}: protocol.fingerprint: {stated!r} is not the fingerprint of the protocol's fields "
            f"({result.protocol.fingerprint}); the file was changed by hand or by another version of the code"
        )
    return result


def read_results(folder: Path) -> dict[Path, Result]:
    """Read every result under a folder, in the order of their paths.

    A broken file is an error and not a gap: a table from which a run silently fell out is worse than no table.

    Args:
        folder: Searched recursively; folders moved aside by the runner are left out.

    Raises:
        RecordError: If one of the files is broken; the message names it.
        BenchError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise BenchError(f"there is no folder {folder} to read results from; `retrieval-bench run` makes them")
    paths = sorted(p for p in folder.rglob(RESULT_FILE) if not any(ASIDE in part for part in p.parts))
    return {path: read_result(path) for path in paths}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RecordError: If it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: this is no JSON ({error})") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
