"""Runs handed to a scheduler end as runs of `run` do, also those that were warned or killed on the way."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch
from processes import descendants

from retrieval_bench.bench.jobs import record_file, standings
from retrieval_bench.bench.plan import expand
from retrieval_bench.bench.results import read_result
from retrieval_bench.bench.suite import read_suite

ROOT = Path(__file__).parents[2]
SUITE = """
datasets: {cub: {miniature: true}}
methods: {abir: [baseline]}
seeds: [0, 1]
options:
  trainer.max_steps: 60
  trainer.precision: 32-true
  trainer.log_every_n_steps: 1
  trainer.accelerator: cpu
  model.init_args.backbone: squeezenet1_0
  model.init_args.weights: none
  model.init_args.resize: 72
  model.init_args.crop: 64
  data.init_args.classes_per_batch: 4
  data.init_args.num_workers: 0
"""


def call(*words: object) -> str:
    command = [sys.executable, "-m", "retrieval_bench", *map(str, words)]
    # A file, for a pipe would be open as long as the jobs are.
    with tempfile.TemporaryFile("w+") as printed:
        status = subprocess.run(command, stdout=printed, stderr=subprocess.STDOUT, check=False, timeout=600).returncode
        printed.seek(0)
        text = printed.read()
    assert status == 0, text
    return text


def until(happened, seconds: float = 400) -> None:
    end, tick = time.monotonic() + seconds, threading.Event()
    while not happened():
        assert time.monotonic() < end, "it never came"
        tick.wait(0.05)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes to stop in /proc")
def test_submitted_runs_end_as_others_do_whether_warned_or_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    suite = tmp_path / "tiny.yaml"
    suite.write_text(SUITE)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    chosen = (suite, "--data-dir", tmp_path, "--output")
    call("run", *chosen, whole)

    submit = ("submit", *chosen, cut, "--scheduler", "local", "--time", 30, "--gpus", 0)
    call(*submit)
    runs = expand(read_suite(suite), output=cut, data_dir=tmp_path)
    warned, killed = (int(json.loads(record_file(run).read_text())["job"]) for run in runs)
    until((runs[0].folder / "checkpoints/last.ckpt").is_file)
    os.kill(descendants(warned)[0], signal.SIGUSR2)  # as a scheduler does before it ends a job
    until((runs[1].folder / "checkpoints/last.ckpt").is_file)
    for pid in (killed, *descendants(killed)):
        os.kill(pid, signal.SIGKILL)
    until(lambda: standings(runs)[1] == "resumable")
    assert "2 runs, 1 submitted" in call(*submit)

    until(lambda: standings(runs) == ["done", "done"])
    for run in runs:
        assert (run.folder / "log.txt").read_text().count("retrieval_bench benchmark") == 2
        one, other = (read_result(f / run.folder.relative_to(cut) / "result.json") for f in (whole, cut))
        assert (one.metrics, one.config_hash) == (other.metrics, other.config_hash)
        a, b = (
            torch.load(f / run.folder.relative_to(cut) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for f in (whole, cut)
        )
        assert all(torch.equal(value, b[key]) for key, value in a.items())
    assert "2 runs, 0 submitted" in call(*submit)
