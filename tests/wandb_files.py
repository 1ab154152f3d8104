"""Reads back what Weights & Biases wrote offline: blocks of a LevelDB log that hold protocol buffers."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEADER, _BLOCK, _PART = 7, 2**15, 7
_FULL, _LAST = 1, 4


@dataclass
class Written:
    """One run, as it was logged."""

    folder: Path
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    def table(self, key: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of a table."""
        (path,) = (row[f"{key}.path"] for row in self.history if f"{key}.path" in row)
        content = json.loads((self.folder / "files" / path).read_text())
        return content["columns"], content["data"]

    def picture(self, key: str) -> Path:
        """The file of a picture."""
        (path,) = (row[f"{key}.path"] for row in self.history if f"{key}.path" in row)
        return self.folder / "files" / path


def read_run(folder: Path) -> Written:
    """The one run below a folder; its service may still be writing on a busy machine.

    Raises:
        TimeoutError: If the run does not end.
    """
    (file,) = folder.rglob("*.wandb")
    until, tick = time.monotonic() + 60, threading.Event()
    while not (run := _read(file)).ended:
        if time.monotonic() > until:
            raise TimeoutError(f"{file} has no end")
        tick.wait(0.1)
    return run


def _read(file: Path) -> Written:
    from wandb.proto.wandb_internal_pb2 import Record

    run = Written(file.parent)
    for content in _records(file.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.group, run.job_type = record.run.run_group, record.run.job_type
            run.name, run.tags = record.run.display_name, list(record.run.tags)
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            run.config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "summary":
            run.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "history":
            run.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        run.ended |= kind == "exit"
    return run


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(content: bytes) -> list[bytes]:
    """The records of a log: each is whole, or in parts that do not cross blocks; cut short where writing goes on."""
    records, parts, at = [], b"", _HEADER
    while at + _PART <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _PART:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + _PART : at + _PART + length]
        at += _PART + length
        if kind in (_FULL, _LAST) and at <= len(content):
            records.append(parts)
            parts = b""
    return records
