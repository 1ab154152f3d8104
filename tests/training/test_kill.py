"""The real command line, killed for real: the same command again ends where an uninterrupted run ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from processes import descendants

from retrieval_bench.bench.results import read_result

ROOT = Path(__file__).parents[2]
SUITE = """
datasets: {cub: {miniature: true}}
methods: {abir: [baseline]}
seeds: [0]
compare_untrained: true
options:
  trainer.max_steps: 24
  trainer.precision: 32-true
  trainer.log_every_n_steps: 1
  trainer.accelerator: cpu
  model.init_args.backbone: squeezenet1_0
  model.init_args.weights: none
  model.init_args.resize: 72
  model.init_args.crop: 64
  data.init_args.classes_per_batch: 4
  data.init_args.num_workers: 1
"""


def start(suite: Path, output: Path, data: Path) -> subprocess.Popen:
    words = ["run", str(suite), "--output", str(output), "--data-dir", str(data)]
    command = [sys.executable, "-m", "retrieval_bench", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(file: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    until, tick = time.monotonic() + seconds, threading.Event()
    while not file.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until, f"{file} never came"
        tick.wait(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes to kill in /proc")
def test_kill_9_in_the_middle_of_training_changes_nothing(tmp_path):
    suite = tmp_path / "tiny.yaml"
    suite.write_text(SUITE)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run = Path("runs/tiny/cub/abir-baseline/s0")

    done = start(suite, whole, tmp_path)
    done.communicate(timeout=300)
    assert done.returncode == 0

    killed = start(suite, cut, tmp_path)
    wait_for(cut / run / "checkpoints" / "last.ckpt", killed)
    for pid in [killed.pid, *descendants(killed.pid)]:
        os.kill(pid, signal.SIGKILL)
    killed.communicate()
    assert not (cut / run / "result.json").exists()

    again = start(suite, cut, tmp_path)
    text = again.communicate(timeout=300)[0]
    assert again.returncode == 0, text
    assert "resumed" in text
    one, other = read_result(whole / run / "result.json"), read_result(cut / run / "result.json")
    assert one.metrics == other.metrics
    assert one.before == other.before
    a, b = (torch.load(f / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in (whole, cut))
    assert all(torch.equal(value, b[key]) for key, value in a.items())

    assert "skipped" in start(suite, cut, tmp_path).communicate(timeout=60)[0]
