"""The runner with tiny scripts in the place of training."""

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.process import last_lines, locked
from retrieval_bench.bench.progress import Progress
from retrieval_bench.bench.results import read_result, write_result
from retrieval_bench.bench.runner import command, find_data, log_tail, prepare, run_all, state
from retrieval_bench.datasets import base
from retrieval_bench.datasets.cards import load_card
from retrieval_bench.datasets.cub import Cub200
from retrieval_bench.datasets.miniature import MARKER, synthesize

SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0]\noptions: {trainer.max_steps: 3}\n"


@pytest.fixture
def runs(plan):
    return plan(SUITE)


@pytest.fixture
def finish(make_result):
    """The result that a run would end with."""
    return lambda run: make_result(variant=run.id.variant, config_hash=run.config_hash, suite=run.id.suite)


@pytest.fixture
def script(tmp_path, finish, runs):
    """Turns the body of a script into a command for each run; ``finish()`` in it writes the run's result."""
    for run in runs:
        write_result(tmp_path / "prepared" / run.folder.parent.name, finish(run))

    def make(body):
        text = "import pathlib, shutil, sys\nfolder, prepared = map(pathlib.Path, sys.argv[1:])\n"
        text += "def finish(): shutil.copy(prepared, folder / 'result.json')\n" + textwrap.dedent(body)
        place = tmp_path / "prepared"
        return lambda run: [sys.executable, "-c", text, str(run.folder), str(place / run.folder.parent.name)]

    return make


@pytest.fixture
def go(script):
    """Makes runs with a script; returns how each ended, and what was printed."""

    def start(runs, body, need_data=lambda runs: None):
        out = io.StringIO()
        progress = Progress(Console(file=out, force_terminal=False))
        outcomes = run_all(runs, progress=progress, build_command=script(body), need_data=need_data)
        return outcomes, out.getvalue()

    return start


def test_the_command_stacks_the_configs_and_sets_seed_root_and_folder(runs):
    run = runs[1]
    words = command(run)
    assert words[:4] == [sys.executable, "-m", "retrieval_bench", "benchmark"]
    configs = [words[i + 1] for i, word in enumerate(words) if word == "--config"]
    assert configs == [*map(str, run.configs), str(run.folder / "overrides.yaml")]
    rest = words[words.index("--seed_everything") :]
    assert rest == ["--seed_everything", "0", "--data.root", str(run.data_root), "--trainer.run_dir", str(run.folder)]


def test_a_run_is_signed_before_it_starts_and_its_output_is_logged(runs, go):
    body = """
        import json
        signature = json.loads((folder / "run.json").read_text())
        print("signed", signature["suite"], signature["variant"], signature["config_hash"])
        print((folder / "overrides.yaml").read_text(), file=sys.stderr)
        finish()
    """
    outcomes, printed = go(runs[1:], body)
    assert [outcome.ending for outcome in outcomes] == ["done"]
    log = (runs[1].folder / "log.txt").read_text()
    assert f"signed tiny no_se {runs[1].config_hash}" in log
    assert "max_steps: 3" in log
    assert printed.splitlines()[0].startswith("[1/1] cub/abir-no_se/s0: started")
    assert "R@1 50.0" in printed.splitlines()[1]


def test_what_is_done_is_not_done_again(runs, go):
    go(runs, "finish()")
    assert [state(run) for run in runs] == ["done", "done"]

    def no_data_needed(runs):
        raise AssertionError("finished runs need no data")

    outcomes, _ = go(runs, "raise SystemExit('started again')", no_data_needed)
    assert [outcome.ending for outcome in outcomes] == ["skipped", "skipped"]


def test_a_committed_result_without_the_runs_other_files_counts_as_done(runs, finish):
    write_result(runs[0].folder / "result.json", finish(runs[0]))
    assert state(runs[0]) == "done"


def test_one_failure_does_not_stop_the_others_and_its_log_is_at_hand(runs, go):
    outcomes, _ = go(runs, "finish() if 'no_se' in str(folder) else sys.exit('out of memory')")
    assert [outcome.ending for outcome in outcomes] == ["failed", "done"]
    assert outcomes[0].reason == "it ended with exit status 1"
    assert log_tail(runs[0])[-1] == "out of memory"


def test_refused_options_stop_the_suite_and_the_log_says_why(runs, go):
    body = """
        print("usage: x\\nx: error: an older one\\nx: error: Key 'trainer.max_stepz' is not expected", file=sys.stderr)
        sys.exit(2)
    """
    outcomes, printed = go(runs, body)
    assert [outcome.ending for outcome in outcomes] == ["failed"]
    assert outcomes[0].reason == "Key 'trainer.max_stepz' is not expected"
    assert "1 further run did not start" in printed
    assert not (runs[1].folder / "log.txt").exists()


def test_the_reason_of_a_refusal_may_stand_on_the_next_line_or_nowhere(runs, go):
    outcomes, _ = go(runs[:1], "print('x: error: Parser key \"a\":\\n  no such class'); sys.exit(2)")
    assert outcomes[0].reason == 'Parser key "a": no such class'
    (runs[0].folder / "log.txt").unlink()
    outcomes, _ = go(runs[:1], "sys.exit(2)")
    assert outcomes[0].reason == "its options were refused (exit status 2)"


def test_a_run_killed_by_a_signal_says_so(runs, go):
    outcomes, _ = go(runs[:1], "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (outcomes[0].ending, outcomes[0].reason) == ("failed", "it was ended by signal 9")


def test_ending_well_without_a_result_is_a_failure(runs, go):
    outcomes, _ = go(runs[:1], "pass")
    assert outcomes[0].ending == "failed"
    assert "ended without writing" in outcomes[0].reason


def test_the_result_of_another_configuration_is_a_failure(runs, go, finish, tmp_path):
    wrong = replace(finish(runs[0]), config_hash="f" * 16)
    write_result(tmp_path / "wrong.json", wrong)
    outcomes, _ = go(runs[:1], f"import shutil; shutil.copy({str(tmp_path / 'wrong.json')!r}, folder / 'result.json')")
    assert "is the result of another run" in outcomes[0].reason


def test_an_interrupted_run_is_resumed_in_its_folder(runs, go):
    go(runs[:1], "(folder / 'checkpoints').mkdir(); (folder / 'checkpoints/last.ckpt').write_text('40'); sys.exit(1)")
    assert state(runs[0]) == "resumable"
    outcomes, printed = go(runs[:1], "print('from', (folder / 'checkpoints/last.ckpt').read_text()); finish()")
    assert outcomes[0].ending == "done"
    assert "resumed" in printed
    assert log_tail(runs[0])[-1] == "from 40"


def test_a_checkpoint_of_another_configuration_is_moved_aside_and_never_resumed(runs, go, plan):
    go(runs[:1], "(folder / 'checkpoints').mkdir(); (folder / 'checkpoints/last.ckpt').write_text('old'); sys.exit(1)")
    changed = plan(SUITE.replace("max_steps: 3", "max_steps: 4"))[:1]
    assert state(changed[0]) == "stale"
    outcomes, printed = go(changed, "sys.exit(7 if (folder / 'checkpoints').exists() else 3)")
    assert outcomes[0].reason == "it ended with exit status 3"
    aside = runs[0].folder.with_name(f"s0.old-{runs[0].config_hash[:8]}")
    assert (aside / "checkpoints/last.ckpt").read_text() == "old"
    assert str(aside) in printed
    assert json.loads((changed[0].folder / "run.json").read_text())["config_hash"] == changed[0].config_hash


def test_a_result_of_another_configuration_is_moved_aside_too_each_time_to_a_new_place(runs, plan, finish):
    for _ in range(2):
        prepare(runs[0])
        write_result(runs[0].folder / "result.json", finish(runs[0]))
        moved = prepare(plan(SUITE.replace("max_steps: 3", "max_steps: 4"))[0])
        (runs[0].folder / "run.json").unlink()
        (runs[0].folder / "overrides.yaml").unlink()
    assert moved is not None
    assert moved.name == f"s0.old-{runs[0].config_hash[:8]}-2"
    assert read_result(moved / "result.json").config_hash == runs[0].config_hash


def test_an_unsigned_checkpoint_belongs_to_nobody(runs):
    (runs[0].folder / "checkpoints").mkdir(parents=True)
    (runs[0].folder / "checkpoints/last.ckpt").write_text("?")
    assert state(runs[0]) == "stale"
    moved = prepare(runs[0])
    assert moved is not None
    assert moved.name == "s0.old-unknown"


def test_a_broken_signature_is_an_error_that_names_it(runs):
    prepare(runs[0])
    (runs[0].folder / "run.json").write_text("[]")
    with pytest.raises(RecordError, match=r"run.json: config_hash: expected a text"):
        state(runs[0])


def test_the_signature_holds_what_the_benchmark_reads(runs):
    prepare(runs[0])
    signature = json.loads((runs[0].folder / "run.json").read_text())
    assert signature == {
        **asdict(runs[0].id),
        "config_hash": runs[0].config_hash,
        "compare_untrained": False,
        "notes": [],
    }


def test_a_run_another_runner_is_at_is_left_to_it(runs, go):
    with locked(runs[0].folder) as lock:
        assert lock is not None
        outcomes, printed = go(runs, "finish()")
    assert [outcome.ending for outcome in outcomes] == ["busy", "done"]
    assert "another runner is at it" in printed


def test_configs_that_were_edited_after_planning_are_not_run_under_the_old_name(runs, go, stack):
    (stack / "methods/abir.yaml").write_text("model: {class_path: ABIR, init_args: {se: false}}\n")
    outcomes, _ = go(runs[:1], "finish()")
    assert outcomes[0].ending == "failed"
    assert "config files have changed since it was planned" in outcomes[0].reason
    assert not runs[0].folder.exists()


def test_missing_data_stop_everything_before_the_first_run(runs, go):
    with pytest.raises(BenchError) as error:
        go(runs, "finish()", find_data)
    assert str(runs[0].data_root.absolute()) in str(error.value)
    assert "--data-dir" in str(error.value)
    assert not runs[0].folder.exists()


def test_a_changed_copy_of_all_pictures_is_never_taken_for_the_original(plan, monkeypatch):
    (run,) = plan(SUITE.replace("[full, no_se]", "[full]"))
    synthesize("cub", run.data_root)
    (run.data_root / MARKER).unlink()
    counts = {p.name: Cub200(run.data_root, p.name).table.counts() for p in Cub200.protocols}
    card = replace(load_card("cub"), counts=counts)
    monkeypatch.setattr(base, "load_card", lambda _: card)
    assert Cub200(run.data_root).protocol.edition == "original"
    find_data([run])
    for picture in run.data_root.rglob("*.jpg"):
        with Image.open(picture) as image:
            small = image.resize((32, 32))
        small.save(picture)
    with pytest.raises(BenchError, match=r"are 32x32 pixels, the originals vary: a resized copy") as error:
        find_data([run])
    assert str(run.data_root) in str(error.value)
    (run.data_root / MARKER).touch()  # of a miniature nobody claims that it is the original
    find_data([run])


def test_absent_miniatures_are_synthesized(plan):
    runs = plan(SUITE.replace("[cub]", "{cub: {miniature: true}}"))
    find_data(runs)
    assert Cub200(runs[0].data_root).table.is_train.any()


def test_a_terminal_shows_the_last_line_of_the_log_and_brackets_as_they_are(tmp_path):
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=100, color_system=None))
    (tmp_path / "log.txt").write_text("epoch [3/9]\n")
    progress.started(1, 2, "cub/abir/s0", resumed=False, log=tmp_path / "log.txt")
    progress.look()
    progress.ended(1, 2, "cub/abir/s0", "failed", 2.0, "[red]")
    shown = out.getvalue()
    assert "[1/2] cub/abir/s0 0:00  epoch [3/9]" in shown
    assert "[1/2] cub/abir/s0: failed in 2 s: [red]" in shown


def test_an_overwritten_progress_bar_is_one_line(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"first\n\n 10%\r 20%\r 30%\r\nlast\n")
    assert last_lines(log, 2) == ["30%", "last"]
    assert last_lines(tmp_path / "none", 2) == []


RUNNER = """
import io, sys
from pathlib import Path
from rich.console import Console
from retrieval_bench.commands import run as command
from retrieval_bench.bench import process, runner
from functools import partial
import argparse
body = Path(sys.argv[1]).read_text()
build = lambda run: [sys.executable, "-c", body, str(run.folder), sys.argv[2]]
runner.run_all = partial(runner.run_all, build_command=build, need_data=lambda runs: None)
parser = argparse.ArgumentParser()
command.add(parser.add_subparsers())
arguments = parser.parse_args(sys.argv[3:])
sys.exit(arguments.handler(arguments))
"""

# Says that it runs by opening a pipe, and that it has ended by the pipe's end of file; never ends by itself.
ENDLESS = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
pipe = open(sys.argv[2], "w")
worker = os.fork()
if not worker:
    signal.pause()
print("pid", os.getpid(), file=pipe, flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/last.ckpt").write_text("40")
    sys.exit(1)
"""


@pytest.fixture
def endless(tmp_path, suite_file):
    """A runner as a process of its own, at a run that never ends; with the pipe the run holds open."""
    pipe, body = tmp_path / "pipe", tmp_path / "body.py"
    os.mkfifo(pipe)
    body.write_text(ENDLESS)
    arguments = ["run", str(suite_file(SUITE)), "--output", str(tmp_path / "results")]
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(body), str(pipe), *arguments], stdout=subprocess.PIPE, text=True
    )
    with Path(pipe).open() as stream:
        yield process, stream
        process.kill()
        process.wait()
        process.stdout.close()


def test_ctrl_c_reaches_the_run_leaves_it_resumable_and_says_how_to_go_on(endless, runs, go, tmp_path):
    process, stream = endless
    assert stream.readline().startswith("pid")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    assert process.returncode == 130
    # The end of file says that nobody holds the pipe any more, the run's own worker included.
    assert stream.read() == ""
    assert f"To go on: retrieval-bench run {tmp_path / 'benchmarks/suites/tiny.yaml'} --output" in printed
    assert [state(run) for run in runs] == ["resumable", "to do"]
    outcomes, _ = go(runs, "finish()")
    assert [outcome.ending for outcome in outcomes] == ["done", "done"]


def test_a_killed_runner_leaves_nothing_running(endless, runs):
    process, stream = endless
    assert stream.readline().startswith("pid")
    process.kill()
    process.wait()
    assert stream.read() == ""
    # The guard goes last; this waits until the lock is free, too.
    with (runs[0].folder.parent / ".s0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert state(runs[0]) == "to do"


def test_the_lock_is_the_runs_as_long_as_it_lives(endless, runs):
    _, stream = endless
    assert stream.readline().startswith("pid")
    with locked(runs[0].folder) as lock:
        assert lock is None
