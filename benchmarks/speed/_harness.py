"""What the speed benchmarks share: fair timing of several contenders, their peak memory, and the last line."""

import argparse
import json
import math
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Import this module before torch and faiss: on a machine that does other work, too, threads that wait for each other by
# spinning make many short operations ten times slower, and none of the contenders is at fault.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Measurement:
    """Several runs of one contender.

    Attributes:
        seconds: The time of each run, in order.
        peak_mib: The most memory that a run held above what the process held before it, in MiB.
    """

    seconds: tuple[float, ...]
    peak_mib: float

    @property
    def median(self) -> float:
        """The median time, in seconds."""
        return statistics.median(self.seconds)


def quick_flag(description: str) -> bool:
    """Whether ``--quick`` was given on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a reduced size, done in under a minute")
    return bool(parser.parse_args().quick)


def measure(
    contenders: Mapping[str, Callable[[], object]], repeat: int = 3, budget_s: float = math.inf
) -> dict[str, Measurement]:
    """Time contenders in turn, round after round, so that a busy minute hurts all of them alike.

    Args:
        contenders: What to time; called without arguments. Warm up before, where the first call is special.
        repeat: Rounds.
        budget_s: A contender that has used up this many seconds sits out the rounds that are left.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    peak = dict.fromkeys(contenders, 0.0)
    for _ in range(repeat):
        for name, work in contenders.items():
            if sum(seconds[name]) >= budget_s:
                continue
            with _peak_memory() as memory:
                start = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - start)
            peak[name] = max(peak[name], memory[0])
    return {name: Measurement(tuple(seconds[name]), peak[name]) for name in contenders}


def report(name: str, measurements: Mapping[str, Measurement], ours: str = "ours") -> None:
    """Print all contenders, and as the last line the JSON that compares ours with the fastest other one."""
    mine = measurements[ours]
    peers = {key: m for key, m in measurements.items() if key != ours}
    best = min(peers, key=lambda key: peers[key].median)
    for key, m in sorted(measurements.items(), key=lambda item: item[1].median):
        sys.stdout.write(
            f"{name:24} {key:32} {m.median:9.3f} s  {m.median / mine.median:7.2f} x ours  {m.peak_mib:8.0f} MiB\n"
        )
    line = {
        "name": name,
        "ours_s": round(mine.median, 6),
        "peer": best,
        "peer_s": round(peers[best].median, 6),
        "ratio": round(peers[best].median / mine.median, 3),
        "peak_mib": round(mine.peak_mib, 1),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Yield a list whose one element is, on leaving, the greatest growth of resident memory in MiB."""
    before, grown, done = _resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            grown[0] = max(grown[0], _resident() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield grown
    finally:
        grown[0] = max(grown[0], _resident() - before)
        done.set()
        watcher.join()


def _resident() -> float:
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize() / 2**20
    # Elsewhere only the peak of the whole process is known; macOS counts it in bytes, others in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
