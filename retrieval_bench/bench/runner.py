"""The runner: one process a run, skipping what is done, resuming what was cut short, surviving what fails."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.plan import Run, hash_today
from retrieval_bench.bench.process import execute, last_lines, locked
from retrieval_bench.bench.progress import Progress
from retrieval_bench.bench.results import ASIDE, RESULT_FILE, Result, read_json, read_result
from retrieval_bench.bench.words import count, metric_label

if TYPE_CHECKING:
    from retrieval_bench.datasets.base import RetrievalDataset

State = Literal["done", "to do", "resumable", "stale"]
Ending = Literal["done", "skipped", "busy", "failed"]

REFUSED = 2
"""The exit status of a run whose options were refused."""

RUN_FILE = "run.json"
LOG_FILE = "log.txt"
CHECKPOINT = Path("checkpoints/last.ckpt")


@dataclass(frozen=True)
class Outcome:
    """How one run ended: ``seconds`` it took, what to tell about it, and whether its options were refused."""

    run: Run
    ending: Ending
    seconds: float = 0.0
    reason: str = ""
    refused: bool = False


def overrides_file(run: Run) -> Path:
    """Where the suite's own options are written as the last config file."""
    return run.folder / "overrides.yaml"


def command(run: Run) -> list[str]:
    """The command line of a run; it works from the folder the runner was started in."""
    files = [*run.configs, *([overrides_file(run)] if run.overrides else [])]
    stacked = [part for file in files for part in ("--config", str(file))]
    return [
        sys.executable,
        "-m",
        "retrieval_bench",
        "benchmark",
        *stacked,
        "--seed_everything",
        str(run.id.seed),
        "--data.root",
        str(run.data_root),
        "--trainer.run_dir",
        str(run.folder),
    ]


def state(run: Run) -> State:
    """What is there of a run.

    Only traces of the same configuration count: a checkpoint of another one is never resumed, nor one that nobody
    signed.

    Raises:
        RecordError: If its files are broken.
    """
    if not run.folder.is_dir() or not any(run.folder.iterdir()):
        return "to do"
    if _hash_of(run) != run.config_hash:
        return "stale"
    if (run.folder / RESULT_FILE).is_file():
        return "done"
    return "resumable" if (run.folder / CHECKPOINT).is_file() else "to do"


def _hash_of(run: Run) -> str | None:
    """The hash of the configuration that a run's folder belongs to.

    A result speaks for itself: of a committed run it is all there is.
    """
    result, signature = run.folder / RESULT_FILE, run.folder / RUN_FILE
    if result.is_file():
        return read_result(result).config_hash
    if not signature.is_file():
        return None
    content = read_json(signature)
    named = content.get("config_hash") if isinstance(content, dict) else None
    if not isinstance(named, str):
        raise RecordError(f"{signature}: config_hash: expected a text; remove the folder to start the run afresh")
    return named


def prepare(run: Run) -> Path | None:
    """Make a run's folder ready; returns where an earlier configuration's folder was moved to, if there was one.

    Args:
        run: The run, whose lock the caller holds.
    """
    moved = None
    if state(run) == "stale":
        stem = f"{run.folder.name}{ASIDE}{(_hash_of(run) or 'unknown')[:8]}"
        moved, number = run.folder.with_name(stem), 2
        while moved.exists():
            moved, number = run.folder.with_name(f"{stem}-{number}"), number + 1
        run.folder.rename(moved)
    # Overrides first: run.json signs a folder that is complete.
    if run.overrides:
        write_whole(overrides_file(run), yaml.safe_dump(dict(run.overrides), sort_keys=False, allow_unicode=True))
    wishes = {"compare_untrained": run.compare_untrained, "notes": run.notes}
    signature = {**asdict(run.id), "config_hash": run.config_hash, **wishes}
    write_whole(run.folder / RUN_FILE, json.dumps(signature, indent=2) + "\n")
    return moved


def find_data(runs: Sequence[Run]) -> None:
    """Make sure that the data of all runs are there, before the first one starts.

    Args:
        runs: Runs still to be made; miniatures are synthesized where they are absent or drawn by older code.

    Raises:
        BenchError: If real data are missing, or a resized or cropped copy has the original's numbers of pictures; the
            message names each folder that was looked in and what to do.
    """
    # The data floor needs NumPy and SciPy, which --dry-run and finished suites do without.
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.errors import DatasetNotFoundError

    missing: list[str] = []
    copies: list[str] = []
    for name, root, miniature in dict.fromkeys((r.id.dataset, r.data_root, r.miniature) for r in runs):
        if miniature:
            from retrieval_bench.datasets.miniature import synthesize

            synthesize(name, root)
            continue
        try:
            dataset = dataset_class(name)(root)
        except DatasetNotFoundError as error:
            missing.append(str(error))
        else:
            copies += _copies(dataset)
    if copies:
        raise BenchError("\n".join(copies))
    if missing:
        missing.append("(`run` looks for each data set in DIR/<data set>: --data-dir DIR, or $RETRIEVAL_BENCH_DATA.)")
        raise BenchError("\n".join(missing))


def _copies(dataset: "RetrievalDataset") -> list[str]:
    """In what a data set that would be called the original one is a changed copy of it."""
    from retrieval_bench.datasets.errors import DataError
    from retrieval_bench.datasets.verify import verify

    original = False
    for protocol in dataset.protocols:
        # What cannot be read under one protocol may do for another; the run itself says so where it does not.
        with suppress(DataError):
            original |= type(dataset)(dataset.root, protocol.name).protocol.edition == "original"
    found = verify(dataset.name, dataset.root, quick=True) if original else []
    return [f"{dataset.root}: {each.what}. {each.todo}" for each in found if each.kind == "edition"]


def run_all(
    runs: Sequence[Run],
    *,
    progress: Progress,
    build_command: Callable[[Run], list[str]] = command,
    need_data: Callable[[Sequence[Run]], None] = find_data,
) -> list[Outcome]:
    """Make runs one after the other.

    Args:
        runs: The runs, in their order.
        progress: Told of every event.
        build_command: Gives the command line of a run.
        need_data: Checks or makes the data of the runs still to be made.

    Returns:
        How each ended; a failed run does not stop the others, unless its options were refused.

    Raises:
        BenchError: If data are missing, before anything is started.
        KeyboardInterrupt: On Ctrl-C, after the current run was told and has ended.
    """
    waiting = [run for run in runs if state(run) != "done"]
    if waiting:
        need_data(waiting)
    outcomes = []
    for number, run in enumerate(runs, start=1):
        outcome = _run_one(run, number, len(runs), progress, build_command)
        progress.ended(number, len(runs), run.id.name, outcome.ending, outcome.seconds, outcome.reason)
        outcomes.append(outcome)
        if outcome.refused and number < len(runs):
            progress.say(f"Its options were refused, so that {count(len(runs) - number, 'further run')} did not start.")
            break
    return outcomes


def _run_one(
    run: Run, number: int, total: int, progress: Progress, build_command: Callable[[Run], list[str]]
) -> Outcome:
    with locked(run.folder) as lock:
        if lock is None:
            return Outcome(run, "busy", reason="another runner is at it")
        before = state(run)
        if before == "done":
            return Outcome(run, "skipped", reason=_headline(read_result(run.folder / RESULT_FILE)))
        if hash_today(run) != run.config_hash:
            return Outcome(run, "failed", reason="its config files have changed since it was planned; start it again")
        moved = prepare(run)
        if moved:
            progress.say(f"{run.id.name}: its configuration has changed; the earlier run is now in {moved}")
        log = run.folder / LOG_FILE
        progress.started(number, total, run.id.name, resumed=before == "resumable", log=log)
        began = time.monotonic()
        status = execute(build_command(run), log=log, lock=lock, watch=progress.look)
        seconds = time.monotonic() - began
        try:
            return Outcome(run, "done", seconds, _headline(_finished(run, status)))
        except BenchError as error:
            return Outcome(run, "failed", seconds, str(error), refused=status == REFUSED)


def _finished(run: Run, status: int) -> Result:
    """The result of a process that has ended.

    Raises:
        BenchError: If it ended badly, or well but without the result it was started for.
    """
    if status > 128:
        raise BenchError(f"it was ended by signal {status - 128}")
    if status == REFUSED:
        raise BenchError(_refusal(run))
    if status:
        raise BenchError(f"it ended with exit status {status}")
    path = run.folder / RESULT_FILE
    if not path.is_file():
        raise BenchError(f"it ended without writing {path}")
    result = read_result(path)
    if (result.run, result.config_hash) != (run.id, run.config_hash):
        raise BenchError(f"{path} is the result of another run: {result.run.name}, config {result.config_hash}")
    return result


def _refusal(run: Run) -> str:
    """Why the options of a run were refused: the last error in its log, which may have a line of its own below."""
    lines = log_tail(run, 100)
    found = [i for i, line in enumerate(lines) if "error:" in line]
    if not found:
        return f"its options were refused (exit status {REFUSED})"
    reason = lines[found[-1]].partition("error:")[2].strip()
    below = lines[found[-1] + 1 : found[-1] + 2]
    return " ".join([reason, *below]) if reason.endswith(":") or not reason else reason


def _headline(result: Result) -> str:
    main = result.protocol.main_metric
    return f"{metric_label(main)} {100 * result.metrics[main]:.1f}"


def log_tail(run: Run, lines: int = 12) -> list[str]:
    """The last lines of a run's log."""
    return last_lines(run.folder / LOG_FILE, lines)
