"""``submit``: hand the runs of a suite to a scheduler."""

import argparse
import re
from typing import TYPE_CHECKING

from retrieval_bench.commands.parsing import Subparsers, command, positive
from retrieval_bench.commands.selection import USAGE, add_selection, again, chosen
from retrieval_bench.commands.tables import make_console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from retrieval_bench.bench.plan import Run


def add(commands: Subparsers) -> None:
    """Add ``submit``."""
    parser = command(
        commands,
        "submit",
        help="hand the runs of a suite to SLURM, each as a job of its own",
        description="Each run becomes a job that does with it what `run` does: same command, folder and log. What is "
        "done, under way or waiting is not submitted again; a job that is preempted or runs out of time goes back into "
        "the queue and resumes from its last checkpoint. `run SUITE --dry-run` shows how all of them stand.",
        example="retrieval-bench submit cub --seeds 0 1 --partition gpu --time 12:00:00 --sbatch account=vision",
    )
    parser.usage = (
        f"{USAGE}\n       [--scheduler slurm|local] [--partition NAME] [--time TIME] [--gpus N] [--sbatch KEY=VALUE]"
        "\n       [--array-parallel N] [--dry-run]"
    )
    add_selection(parser)
    parser.add_argument(
        "--scheduler",
        choices=["slurm", "local"],
        default="slurm",
        help="local: processes of this machine, all at once, to try things out (default: slurm)",
    )
    parser.add_argument("--partition", metavar="NAME", help="the partition to wait in (default: the cluster's)")
    parser.add_argument(
        "--time",
        default="24:00:00",
        metavar="TIME",
        help="of a job, in minutes or H:MM:SS or D-HH:MM:SS; then it goes back into the queue (default: 24:00:00)",
    )
    parser.add_argument(
        "--gpus", type=_whole, metavar="N", help="of each job on each machine (default: its trainer.devices; 0: none)"
    )
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other option of sbatch, without its dashes: --sbatch mem=64G; may be repeated",
    )
    parser.add_argument("--array-parallel", type=positive, metavar="N", help="at most this many jobs at a time")
    parser.add_argument("--dry-run", action="store_true", help="show what would be submitted")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Submit the runs, and show the job of each."""
    from retrieval_bench.bench.scheduler import Wishes, read_minutes, submit, to_submit

    suite, runs = chosen(options)
    wishes = Wishes(
        minutes=read_minutes(options.time),
        gpus=options.gpus,
        parallel=options.array_parallel,
        sbatch=_sbatch(options),
    )
    folder, console = options.output / "jobs" / suite.name, make_console()
    if options.dry_run:
        places = [place for group in to_submit(runs).values() for place in group]
        _show("would be submitted", runs, dict.fromkeys(places, "to submit"), console)
        return 0
    jobs = submit(runs, scheduler=options.scheduler, folder=folder, wishes=wishes)
    _show("submitted", runs, {place: f"submitted, job {job}" for place, job in jobs.items()}, console)
    if jobs:
        text = f"\nEach run has its log in its folder, each job in {folder}. How they stand: {again(options)} --dry-run"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    return 0


def _whole(text: str) -> int:
    """A whole number from 0, for ``type=``."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _sbatch(options: argparse.Namespace) -> dict[str, str | bool]:
    """What ``--partition`` and ``--sbatch`` say; a key without a value is a switch."""
    from retrieval_bench.errors import OptionError

    asked: dict[str, str | bool] = {"partition": options.partition} if options.partition else {}
    for word in options.sbatch:
        key, equals, value = word.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
            raise OptionError(f"--sbatch {word}: expected KEY=VALUE or KEY, the option without its dashes: mem=64G")
        asked[key] = value if equals else True
    return asked


def _show(done: str, runs: "Sequence[Run]", chosen_ones: "Mapping[int, str]", console: "Console") -> None:
    from retrieval_bench.bench.jobs import standings
    from retrieval_bench.bench.tables import Cell, Column, Table
    from retrieval_bench.bench.terminal import show_table
    from retrieval_bench.bench.words import count

    columns = (Column("run", number=False), Column("state", number=False), Column("machines"), Column("devices"))
    rows = tuple(
        (Cell(run.id.name), Cell(chosen_ones.get(place, standing)), Cell(str(run.nodes)), Cell(str(run.devices)))
        for place, (run, standing) in enumerate(zip(runs, standings(runs), strict=True))
    )
    show_table(Table(f"{count(len(runs), 'run')}, {len(chosen_ones)} {done}", (), columns, rows), console)
