"""Stands between the runner and a run: when the runner dies, however it dies, the run is stopped.

Started as ``python -m retrieval_bench.bench.guard FD COMMAND...``. ``FD`` is the reading end of a pipe whose writing
end only the runner holds: its end of file says that the runner is gone, even after ``kill -9``. The alternative on
Linux, a signal on the parent's death, reaches the run alone and not its loaders and ranks, needs code between fork
and exec, which is unsafe beside the thread that draws the progress, and is on no other system.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

GRACE = 10.0
"""Seconds between asking a run to stop and killing it."""


def main(arguments: Sequence[str]) -> int:
    """Run a command until it ends or the pipe closes; return its exit status.

    Args:
        arguments: The number of the pipe's reading end, then the command.
    """
    pipe, command = int(arguments[0]), list(arguments[1:])
    # A handler, unlike ignoring, is not passed on to the command: signals to the group are for it alone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stay)
    # Descriptors that the runner passed on stay open in the command: it holds the run's lock as long as it lives.
    child = subprocess.Popen(command, close_fds=False)
    ended = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None
    while child.poll() is None:
        watched = [pipe] if ended is None else [pipe, ended]
        ready, _, _ = select.select(watched, [], [], None if ended is not None else 0.2)
        if pipe in ready:
            return _stop(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _stay(_number: int, _frame: FrameType | None) -> None:
    """Let the command decide; the guard ends when it does."""


def _stop(child: subprocess.Popen[bytes]) -> int:
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    # Also loaders and ranks that outlived the run, and at last the guard itself.
    os.killpg(0, signal.SIGKILL)
    return 128 + signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
