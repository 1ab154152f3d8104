"""One run as a process of its own: started, watched, interrupted and never left behind."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

POLL = 0.5
"""Seconds between two looks at a run."""

GRACE = 60.0
"""Seconds a run has after Ctrl-C to end by itself; its last checkpoint is that of the last whole epoch."""


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """Hold the lock of a run's folder; yields its descriptor, or None if somebody else holds it.

    The lock lies beside the folder and not in it, since the folder of a stale run is moved aside. It is never removed:
    removing a lock file lets two processes hold two files of one name.

    Args:
        folder: The run's folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder).open("w", encoding="utf-8") as lock:
        yield lock.fileno() if _taken(lock) else None


def _taken(lock: IO[str]) -> bool:
    """Whether the lock could be had; a look at it by ``is_locked`` is over before the second try."""
    for _ in range(2):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def is_locked(folder: Path) -> bool:
    """Whether somebody holds the lock of a run's folder; leaves no trace.

    Args:
        folder: The run's folder.
    """
    try:
        with _lock_file(folder).open("r", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lock_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"


def execute(
    command: Sequence[str],
    *,
    log: Path,
    lock: int | None = None,
    watch: Callable[[], None] = lambda: None,
    grace: float = GRACE,
) -> int:
    """Run a command in a process group of its own and wait for it.

    Args:
        command: What to start.
        log: Its output is appended here.
        lock: A descriptor the process keeps open as long as it lives.
        watch: Called every half second.
        grace: Seconds the process has after Ctrl-C before it is killed.

    Returns:
        Its exit status, 128 + the signal's number if a signal ended it.

    Raises:
        KeyboardInterrupt: On Ctrl-C, after it was passed on and the process has ended.
    """
    reading, writing = os.pipe()
    guarded = [sys.executable, "-m", "retrieval_bench.bench.guard", str(reading), *command]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            began = datetime.now().astimezone().isoformat(timespec="seconds")
            output.write(f"--- {began} {shlex.join(command)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=(reading,) if lock is None else (reading, lock),
                # Threads that wait by spinning make every other process on a shared machine many times slower.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            return _wait(process, watch)
        except KeyboardInterrupt:
            _interrupt(process, grace)
            raise
        finally:
            _end_group(process)
    finally:
        os.close(writing)
        os.close(reading)


def _wait(process: subprocess.Popen[bytes], watch: Callable[[], None]) -> int:
    while True:
        watch()
        try:
            status = process.wait(POLL)
        except subprocess.TimeoutExpired:
            continue
        return status if status >= 0 else 128 - status


def _interrupt(process: subprocess.Popen[bytes], grace: float) -> None:
    """Pass Ctrl-C on and wait; a second Ctrl-C, or the end of patience, kills."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(grace)
    except (ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
        return


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Nothing of a run outlives it, neither loaders nor ranks."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log that say anything; a progress bar's overwritten states are not lines.

    Args:
        log: The file.
        count: How many.
    """
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 16_384))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rstrip().rpartition("\r")[2].strip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]
