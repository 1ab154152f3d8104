"""Runs as jobs of a scheduler: what a job does, where it is recorded, and whether it is still under way."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.plan import Run
from retrieval_bench.bench.process import is_locked
from retrieval_bench.bench.progress import Progress
from retrieval_bench.bench.records import build
from retrieval_bench.bench.results import read_json
from retrieval_bench.bench.runner import command, run_all, state

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

Scheduler = Literal["slurm", "local"]


@dataclass(frozen=True)
class RunJob:
    """What a job does: the one run, as ``retrieval-bench run`` would make it on that machine."""

    run: Run

    def __call__(self) -> None:
        """Make the run, or go on with it.

        Raises:
            BenchError: If it failed; the scheduler then shows the job as failed.
        """
        from rich.console import Console

        if self.run.nodes == 1:
            # Lightning starts the processes of one machine itself, unless it believes that SLURM has.
            os.environ.pop("SLURM_NTASKS", None)
        (outcome,) = run_all([self.run], progress=Progress(Console(width=200)), build_command=job_command)
        if outcome.ending == "failed":
            raise BenchError(f"{self.run.id.name} failed: {outcome.reason}")

    def checkpoint(self) -> "DelayedSubmission":
        """Called when time is up: the same again, which goes on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def job_command(run: Run) -> list[str]:
    """The command of a run in its job; over several machines SLURM starts one process a device."""
    if run.nodes == 1:
        return command(run)
    tasks = f"--ntasks-per-node={run.devices}"
    return ["srun", f"--nodes={run.nodes}", tasks, "--kill-on-bad-exit=1", *command(run)]


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What is known of a run that was handed to a scheduler.

    Attributes:
        scheduler: Which one.
        job: Its name there.
        host: The machine it was submitted from.
        config_hash: The configuration it was submitted with.
    """

    scheduler: Scheduler
    job: str
    host: str
    config_hash: str


def record_file(run: Run) -> Path:
    """Where the job of a run is recorded: beside its folder, as its lock is, since the folder may be moved aside."""
    return run.folder.parent / f".{run.folder.name}.job.json"


def write_record(run: Run, scheduler: Scheduler, job: str) -> None:
    """Record that a run was handed to a scheduler."""
    record = JobRecord(scheduler=scheduler, job=job, host=platform.node(), config_hash=run.config_hash)
    write_whole(record_file(run), json.dumps(asdict(record), indent=2) + "\n")


def standings(runs: Sequence[Run]) -> list[str]:
    """What is there of each run, and whether it is under way or waiting.

    Args:
        runs: The runs.

    Returns:
        For each its state, or ``running``, or what the scheduler says of its job: ``pending, job 17_2``.

    Raises:
        RecordError: If a record is broken.
    """
    records = {run.id: build(JobRecord, read_json(f), file=f) for run in runs if (f := record_file(run)).is_file()}
    queue = _queue() if any(record.scheduler == "slurm" for record in records.values()) else {}
    return [_standing(run, records.get(run.id), queue) for run in runs]


def _standing(run: Run, record: JobRecord | None, queue: Mapping[str, str] | None) -> str:
    what = state(run)
    if what == "done":
        return what
    job = _job_state(record, queue) if record else None
    if record and job:
        earlier = "" if record.config_hash == run.config_hash else " (an earlier configuration)"
        unknown = " (squeue does not answer)" if record.scheduler == "slurm" and queue is None else ""
        return f"{job}, job {record.job}{unknown}{earlier}"
    return "running" if is_locked(run.folder) else what


def _job_state(record: JobRecord, queue: Mapping[str, str] | None) -> str | None:
    """What a scheduler says of a job; None if it has ended."""
    if record.scheduler == "slurm":
        return "submitted" if queue is None else queue.get(record.job)
    if record.host != platform.node():
        return None  # the run's lock says whether it is under way
    try:
        words = Path(f"/proc/{record.job}/cmdline").read_bytes()
    except OSError:
        return None
    return "running" if b"submitit" in words else None


def _queue() -> dict[str, str] | None:
    """The states of the user's jobs by their names; None where nobody can say."""
    question = ["squeue", "--me", "--array", "--noheader", "--format=%i %T"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    states = (line.split() for line in answer.splitlines())
    return {words[0]: words[1].lower() for words in states if len(words) == 2}  # all else is no job
