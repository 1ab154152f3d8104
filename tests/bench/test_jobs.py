"""Runs as jobs: what SLURM is told, what is not submitted twice, and the same results as without it."""

import os
import sys
from dataclasses import replace

import pytest

from retrieval_bench.bench import scheduler
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.jobs import job_command, record_file, standings
from retrieval_bench.bench.process import locked
from retrieval_bench.bench.results import write_result
from retrieval_bench.bench.runner import command
from retrieval_bench.bench.scheduler import Wishes, read_minutes, submit, to_submit

SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0]\noptions: {trainer.max_steps: 3}\n"

# Keeps the batch script as it was given, and names each job one higher than the last.
SBATCH = """#!/bin/sh
cp "$1" "{folder}/script-$(ls {folder} | wc -l)"
echo "Submitted batch job $(ls {folder} | wc -l)"
"""


@pytest.fixture
def runs(plan):
    return plan(SUITE)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of SLURM's names; returns the folder of submitted scripts and a function that fills the queue."""
    programs, scripts = tmp_path / "bin", tmp_path / "scripts"
    programs.mkdir()
    scripts.mkdir()

    def program(name, text):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def queue(*lines):
        program("squeue", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))

    program("sbatch", SBATCH.format(folder=scripts))
    program("srun", "#!/bin/sh\nexit 1\n")
    queue()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(scheduler, "find_data", lambda runs: None)
    return scripts, queue


def test_slurm_gets_one_array_that_is_warned_and_put_back_into_the_queue(runs, cluster, tmp_path):
    scripts, _ = cluster
    wishes = Wishes(minutes=90, parallel=1, sbatch={"mem": "64G", "exclusive": True})
    jobs = submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=wishes)
    assert jobs == {0: "1_0", 1: "1_1"}
    (script,) = scripts.iterdir()
    lines = script.read_text().splitlines()
    expected = {"time=90", "array=0-1%1", "signal=B:USR2@90", "requeue", "mem=64G", "exclusive", "gpus-per-node=1"}
    expected |= {"nodes=1", "job-name=retrieval-bench-tiny"}
    assert {f"#SBATCH --{option}" for option in expected} <= set(lines)
    # SLURM warns the batch shell alone, so Python must have taken its place.
    assert any(line.startswith(f"exec {sys.executable} ") for line in lines)


def test_what_waits_is_not_submitted_twice_and_what_vanished_is(runs, cluster, tmp_path):
    scripts, queue = cluster
    submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    queue("1_0 PENDING", "9_1 RUNNING")
    assert standings(runs) == ["pending, job 1_0", "to do"]
    jobs = submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    assert jobs == {1: "2"}
    queue("1_0 PENDING", "2 RUNNING")
    assert standings(runs) == ["pending, job 1_0", "running, job 2"]
    assert submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9)) == {}
    assert len(list(scripts.iterdir())) == 2


def test_a_job_of_another_configuration_is_named_as_such_and_waited_for(runs, cluster, tmp_path, plan):
    submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    cluster[1]("1_0 PENDING")
    changed = plan(SUITE.replace("max_steps: 3", "max_steps: 4"))
    assert standings(changed) == ["pending, job 1_0 (an earlier configuration)", "to do"]
    assert to_submit(changed) == {(1, 1): [1]}


def test_where_nobody_knows_the_queue_a_submitted_run_counts_as_submitted(runs, cluster, tmp_path, monkeypatch):
    submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert standings(runs) == [f"submitted, job 1_{i} (squeue does not answer)" for i in (0, 1)]


def test_what_squeue_says_beside_its_jobs_is_passed_over(runs, cluster, tmp_path):
    submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    cluster[1]("", "slurm is tired today", "1_0 PENDING")
    assert standings(runs) == ["pending, job 1_0", "to do"]


def test_what_is_done_or_under_way_elsewhere_is_left_out(runs, make_result):
    write_result(runs[0].folder / "result.json", make_result(config_hash=runs[0].config_hash))
    assert to_submit(runs) == {(1, 1): [1]}
    with locked(runs[1].folder):
        assert standings(runs) == ["done", "running"]
        assert to_submit(runs) == {}
    assert standings(runs) == ["done", "to do"]


def test_runs_of_different_machines_become_different_arrays(plan, cluster, tmp_path):
    text = (
        SUITE.replace("[full, no_se]", "[full]")
        + "method_options: {abir: {trainer.devices: 4, trainer.num_nodes: 2}}\n"
    )
    (large,) = plan(text)
    assert to_submit([large]) == {(4, 2): [0]}
    submit([large], scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    (script,) = cluster[0].iterdir()
    lines = script.read_text().splitlines()
    assert {f"#SBATCH --{x}" for x in ("nodes=2", "ntasks-per-node=4", "gpus-per-node=4")} <= set(lines)
    srun = ["srun", "--nodes=2", "--ntasks-per-node=4", "--kill-on-bad-exit=1"]
    assert job_command(large) == [*srun, *command(large)]
    assert job_command(replace(large, nodes=1)) == command(large)


def test_devices_that_are_no_number_are_asked_for(runs):
    with pytest.raises(BenchError, match=r"cub/abir/s0: say how many devices .* --set trainer.devices=2"):
        to_submit([replace(runs[0], devices=None)])


@pytest.mark.parametrize("devices", [-1, 0, "auto"])
def test_as_many_devices_as_are_found_are_no_number(plan, devices):
    (run,) = plan(
        f"{SUITE.replace('[full, no_se]', '[full]')}method_options: {{abir: {{trainer.devices: {devices}}}}}\n"
    )
    assert run.devices is None


@pytest.mark.parametrize("nodes", ["abc", "null", "0", "1.5"])
def test_a_number_of_machines_that_is_none_is_one_line(plan, nodes):
    with pytest.raises(BenchError, match=r"suite tiny: trainer\.num_nodes is .*, expected a whole number from 1"):
        plan(f"{SUITE}method_options: {{abir: {{trainer.num_nodes: {nodes}}}}}\n")


def test_without_slurm_it_says_where_to_submit_from(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="no srun here"):
        submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))


def test_a_missing_extra_and_too_few_gpus_are_named(runs, cluster, tmp_path, monkeypatch):
    place = {"scheduler": "slurm", "folder": tmp_path / "jobs/tiny"}
    with pytest.raises(BenchError, match="--gpus 1: a run of 4 devices"):
        submit([replace(runs[0], devices=4)], **place, wishes=Wishes(minutes=9, gpus=1))
    monkeypatch.setattr(scheduler, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install -e '\.\[slurm\]'"):
        submit(runs, **place, wishes=Wishes(minutes=9))


def test_a_refusal_of_the_scheduler_is_one_line(runs, cluster, tmp_path):
    (tmp_path / "bin/sbatch").write_text("#!/bin/sh\necho 'invalid account' >&2\nexit 1\n")
    with pytest.raises(BenchError, match=r"the scheduler refused: .*invalid account") as error:
        submit(runs, scheduler="slurm", folder=tmp_path / "jobs/tiny", wishes=Wishes(minutes=9))
    assert "\n" not in str(error.value)
    assert not any(record_file(run).exists() for run in runs)


def test_this_machine_refuses_what_it_cannot_do(runs, tmp_path):
    for run, wishes in ((replace(runs[0], nodes=2), Wishes(minutes=9)), (runs[0], Wishes(minutes=9, parallel=2))):
        with pytest.raises(BenchError, match="this machine"):
            submit([run], scheduler="local", folder=tmp_path / "jobs/tiny", wishes=wishes)


@pytest.mark.parametrize(
    ("text", "minutes"), [("90", 90), ("1:30:00", 90), ("2-12:00:00", 3600), ("0:00:01", 1), ("10:00:30", 601)]
)
def test_times_are_read_as_slurm_writes_them(text, minutes):
    assert read_minutes(text) == minutes


@pytest.mark.parametrize("text", ["0", "", "soon", "1:30", "-5", "0:00:00"])
def test_other_times_are_refused(text):
    with pytest.raises(BenchError, match=r"expected minutes, H:MM:SS or D-HH:MM:SS"):
        read_minutes(text)
