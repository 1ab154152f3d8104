import argparse
import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_bench.bench import runner
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.results import write_result
from retrieval_bench.bench.runner import Outcome
from retrieval_bench.cli_bench import add_bench_parsers

ROOT = Path(__file__).parents[2]
SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0, 1]\n"


@pytest.fixture
def call(capsys):
    """Runs a command; returns its exit status and what it printed."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        add_bench_parsers(parser.add_subparsers())
        options = parser.parse_args([str(argument) for argument in arguments])
        status = options.handler(options)
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def results(store, make_result):
    """Real-looking results of two settings."""
    return store(make_result(metrics=(0.75, 0.8)), make_result(variant="no_se", metrics=(0.7, 0.8)))


def test_a_dry_run_shows_states_and_commands_and_starts_nothing(call, suite_file, plan, make_result, tmp_path):
    done, *_ = plan(SUITE)
    write_result(done.folder / "result.json", make_result(config_hash=done.config_hash))
    path = suite_file(SUITE)
    status, printed = call("run", path, "--seeds", 0, "--dry-run", "--output", tmp_path / "results")
    lines = [line.split() for line in printed.splitlines()]
    assert status == 0
    assert ["cub/abir/s0", "done", done.config_hash] in lines
    assert any(words[:3] == ["cub/abir-no_se/s0", "to", "do"] for words in lines)
    command = next(line for line in printed.splitlines() if "no_se --seeds" in line)
    assert command == (
        f"retrieval-bench run {path} --datasets cub --methods abir --variants no_se --seeds 0 "
        f"--output {tmp_path / 'results'}"
    )
    assert not (tmp_path / "results/runs/tiny/cub/abir-no_se").exists()


def test_a_copied_command_names_its_one_run(call, suite_file, tmp_path):
    path = suite_file(SUITE)
    _, printed = call("run", path, "--dry-run", "--output", tmp_path / "r")
    words = next(line for line in printed.splitlines() if "no_se --seeds 1" in line).split()
    _, again = call(*words[1:], "--dry-run")
    assert again.startswith("1 run\n")
    assert "cub/abir-no_se/s1" in again


def test_after_a_run_the_leaderboard_is_written_and_failures_are_summed_up(
    call, suite_file, plan, make_result, tmp_path, monkeypatch
):
    def pretend(runs, *, progress):
        write_result(runs[0].folder / "result.json", make_result(config_hash=runs[0].config_hash))
        (runs[1].folder).mkdir(parents=True)
        (runs[1].folder / "log.txt").write_text("first\nout of memory [now]\n")
        return [Outcome(runs[0], "done", 3.0, "fine"), Outcome(runs[1], "failed", 1.0, "it ended with exit status 1")]

    monkeypatch.setattr(runner, "run_all", pretend)
    status, printed = call("run", suite_file(SUITE), "--seeds", 0, "--output", tmp_path / "results")
    assert status == 1
    assert "2 runs, 1 failed" in printed
    assert "    out of memory [now]" in printed
    board = (tmp_path / "results/leaderboards/tiny.md").read_text()
    # The suite asks for two seeds; one alone is no average.
    assert "1 of 2 seeds; missing: 1 (seed 0: R@1 50.0)" in board
    assert "[r1]: ../runs/tiny/cub/abir/s0/result.json" in board


def test_the_format_follows_the_files_ending(call, results, tmp_path):
    for kind in ("md", "csv", "tex", "html"):
        target = tmp_path / f"board.{kind}"
        assert call("leaderboard", "--results", results, "--output", target) == (0, "")
        assert "no_se" in target.read_text().replace("\\", "")
    assert "results/runs/tiny/cub/abir/s0/result.json" in (tmp_path / "board.html").read_text()
    with pytest.raises(BenchError, match=r"board.doc: no format ends in '.doc'"):
        call("leaderboard", "--results", results, "--output", tmp_path / "board.doc")
    assert not (tmp_path / "board.doc").exists()


def test_a_pipe_gets_markdown_and_csv_is_whole(call, results):
    assert call("leaderboard", "--results", results)[1].startswith("# Leaderboard")
    rows = list(csv.DictReader(io.StringIO(call("leaderboard", "--results", results, "--format", "csv")[1])))
    assert {(row["variant"], row["metric"], row["mean"]) for row in rows} == {
        ("", "recall_at_1", "0.75"),
        ("", "recall_at_2", "0.8"),
        ("no_se", "recall_at_1", "0.7"),
        ("no_se", "recall_at_2", "0.8"),
    }


def test_one_suite_may_be_asked_for(call, results, make_result):
    write_result(results / "runs/other/cub/x/s0/result.json", make_result(suite="other", method="x"))
    assert "| x " in call("leaderboard", "--results", results)[1]
    assert "| x " not in call("leaderboard", "--results", results, "--suite", "tiny")[1]


def test_a_suite_without_results_must_be_one(call, results, monkeypatch, tmp_path, suite_file):
    suite_file(SUITE)
    suite_file(SUITE, name="fresh")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=r"no suite tinny: .*did you mean tiny\?"):
        call("leaderboard", "--results", results, "--suite", "tinny")
    assert "no results yet" in call("leaderboard", "--results", results, "--suite", "fresh")[1]


def test_a_suite_swallowed_by_an_option_is_explained(call, capsys):
    with pytest.raises(SystemExit) as end:
        call("run", "--methods", "abir", "cub")
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert "usage: " in printed.splitlines()[0]
    assert " run SUITE [" in printed
    assert "Write it before the options" in printed


@pytest.mark.parametrize("words", [("--dry-run", "SUITE"), ("--limit", "1", "SUITE", "--dry-run")])
def test_a_suite_after_other_options_is_found(call, suite_file, tmp_path, words):
    path = suite_file(SUITE)
    status, printed = call("run", *(path if word == "SUITE" else word for word in words), "--output", tmp_path / "r")
    assert (status, "cub/abir/s0" in printed) == (0, True)


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_positive(call, suite_file, capsys, limit):
    with pytest.raises(SystemExit) as end:
        call("run", suite_file(SUITE), f"--limit={limit}")
    assert end.value.code == 2
    assert "expected a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("paper", ["abir", "adaptive_triplet", "cluster_mac", "regional_attention", "udq"])
@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
def test_every_paper_renders_in_every_format(call, results, paper, kind):
    status, printed = call("leaderboard", "--results", results, "--paper", paper, "--format", kind)
    assert status == 0
    assert printed


def test_a_missing_results_folder_is_an_error(call, tmp_path):
    with pytest.raises(BenchError, match="there is no folder"):
        call("leaderboard", "--results", tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["run", "leaderboard", "regress"])
def test_help_ends_with_an_example_that_parses(name, capsys):
    parser = argparse.ArgumentParser()
    add_bench_parsers(parser.add_subparsers())
    with pytest.raises(SystemExit) as end:
        parser.parse_args([name, "--help"])
    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    example = printed.partition("example: retrieval-bench ")[2].split()
    assert callable(parser.parse_args(example).handler)


def test_the_table_commands_import_nothing_heavy(results):
    code = (
        "import sys, argparse; from retrieval_bench.cli_bench import add_bench_parsers\n"
        "parser = argparse.ArgumentParser(); add_bench_parsers(parser.add_subparsers())\n"
        "options = parser.parse_args(sys.argv[1:]); options.handler(options)\n"
        "heavy = {'torch', 'torchvision', 'pytorch_lightning', 'faiss', 'wandb', 'scipy', 'sklearn'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    for arguments in (["leaderboard"], ["leaderboard", "--paper", "abir"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--results", str(results)],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
        assert (done.returncode, done.stderr) == (0, "")
