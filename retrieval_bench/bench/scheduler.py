"""Hands the runs of a suite to SLURM, or to processes of this machine, through submitit."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.jobs import RunJob, Scheduler, standings, write_record
from retrieval_bench.bench.plan import Run
from retrieval_bench.bench.process import locked
from retrieval_bench.bench.runner import find_data, state

if TYPE_CHECKING:
    from submitit import LocalExecutor, SlurmExecutor

REQUEUES = 10
"""How often a job that ran out of time goes back into the queue, so that one that gets nowhere ends."""

WARNING = 90
"""Seconds before its end at which a job is told."""

MANY = 256
"""Jobs of one array at a time, where nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the jobs ask of the scheduler.

    Attributes:
        minutes: How long one may take before it goes back into the queue.
        gpus: How many it gets on each machine; None for as many as the run has devices there.
        parallel: How many may run at a time.
        sbatch: Further options of ``sbatch``, without their dashes; True where one takes no value.
    """

    minutes: int
    gpus: int | None = None
    parallel: int | None = None
    sbatch: Mapping[str, str | bool] = field(default_factory=dict)


def submit(runs: Sequence[Run], *, scheduler: Scheduler, folder: Path, wishes: Wishes) -> dict[int, str]:
    """Hand runs to a scheduler; what is done, under way or waiting already is left out.

    Args:
        runs: The runs of one suite.
        scheduler: ``slurm``, or ``local`` for processes of this machine, all at once.
        folder: Where the scheduler's files go; every machine must see it.
        wishes: What the jobs ask for.

    Returns:
        By its place in ``runs``, the job of each run that was submitted.

    Raises:
        BenchError: If the data are missing, somebody else is submitting, or the scheduler refuses.
    """
    names: dict[int, str] = {}
    with locked(folder) as lock:
        if lock is None:
            raise BenchError(f"somebody else is submitting to {folder} just now; try again")
        groups = to_submit(runs)
        executors = {shape: _executor(scheduler, folder, wishes, *shape) for shape in groups}
        find_data([runs[place] for group in groups.values() for place in group])
        for shape, group in groups.items():
            jobs = _submit_array(executors[shape], [RunJob(runs[place]) for place in group])
            for place, job in zip(group, jobs, strict=True):
                names[place] = job
                write_record(runs[place], scheduler, job)
    return names


def to_submit(runs: Sequence[Run]) -> dict[tuple[int, int], list[int]]:
    """Which runs wait for nobody yet: their places, by the devices and machines that each asks for.

    Args:
        runs: The runs of one suite.

    Raises:
        BenchError: If the devices of one are no plain number.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (run, standing) in enumerate(zip(runs, standings(runs), strict=True)):
        if standing == "done" or standing != state(run):
            continue
        if run.devices is None:
            raise BenchError(f"{run.id.name}: say how many devices it takes, as in --set trainer.devices=2")
        groups.setdefault((run.devices, run.nodes), []).append(place)
    return groups


def _executor(
    scheduler: Scheduler, folder: Path, wishes: Wishes, devices: int, nodes: int
) -> "LocalExecutor | SlurmExecutor":
    if find_spec("submitit") is None:
        raise BenchError("submit needs submitit: pip install -e '.[slurm]'")
    gpus = devices if wishes.gpus is None else wishes.gpus
    if 0 < gpus < devices:
        raise BenchError(f"--gpus {gpus}: a run of {devices} devices needs as many; leave the option out")
    common: dict[str, Any] = {"signal_delay_s": WARNING, "stderr_to_stdout": True}
    if gpus:  # a cluster that has none refuses to give zero of them
        common["gpus_per_node"] = gpus
    if scheduler == "local":
        return _local(folder, wishes, nodes, common)
    from submitit import SlurmExecutor

    try:
        # exec, because SLURM's signal goes to the batch shell alone (B: below): Python takes the shell's place.
        slurm = SlurmExecutor(folder / "%j", max_num_timeout=REQUEUES, python=f"exec {shlex.quote(sys.executable)}")
    except RuntimeError as error:
        raise BenchError("there is no srun here: submit from a machine of the cluster") from error
    slurm.update_parameters(
        **common,
        **({"ntasks_per_node": devices} if nodes > 1 else {}),
        job_name=f"retrieval-bench-{folder.name}",
        time=wishes.minutes,
        nodes=nodes,
        array_parallelism=wishes.parallel or MANY,
        use_srun=False,  # on one machine the job is what `run` is; over several it calls srun itself
        wckey=None,
        # Back into the queue after a preemption and a broken machine, too.
        additional_parameters={"signal": f"B:USR2@{WARNING}", "requeue": True, **wishes.sbatch},
    )
    return slurm


def _local(folder: Path, wishes: Wishes, nodes: int, common: Mapping[str, Any]) -> "LocalExecutor":
    from submitit import LocalExecutor

    if nodes > 1:
        raise BenchError(f"trainer.num_nodes is {nodes}, and this machine is one")
    if wishes.parallel or wishes.sbatch:
        raise BenchError("jobs of this machine start all at once and have no options of sbatch; leave them out")
    local: LocalExecutor = LocalExecutor(folder / "%j", max_num_timeout=REQUEUES)
    local.update_parameters(**common, timeout_min=wishes.minutes)
    return local


def _submit_array(executor: "LocalExecutor | SlurmExecutor", jobs: Sequence[RunJob]) -> list[str]:
    """The names of the jobs; on SLURM they are one array."""
    try:
        return [job.job_id for job in executor.submit_array(jobs)]
    except RuntimeError as error:  # what submitit makes of an answer of sbatch that it does not like
        raise BenchError(f"the scheduler refused: {' '.join(str(error).split())}") from error


def read_minutes(text: str) -> int:
    """Minutes of ``90``, ``1:30:00`` or ``2-12:00:00``, as SLURM writes times; seconds are rounded up.

    Args:
        text: What the user wrote.

    Raises:
        BenchError: If it is no such time, or none at all.
    """
    if match := re.fullmatch(r"(\d+)", text):
        minutes = int(match[1])
    elif match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text):
        days, hours, over, seconds = (int(part or 0) for part in match.groups())
        minutes = (days * 24 + hours) * 60 + over + (seconds > 0)
    else:
        minutes = 0
    if not minutes:
        raise BenchError(f"--time {text}: expected minutes, H:MM:SS or D-HH:MM:SS")
    return minutes
