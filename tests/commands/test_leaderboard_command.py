import csv
import io
import os
import subprocess
import sys

import pytest

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.results import write_result

SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0, 1]\n"


@pytest.fixture
def results(store, make_result):
    """Real-looking results of two settings."""
    return store(make_result(metrics=(0.75, 0.8)), make_result(variant="no_se", metrics=(0.7, 0.8)))


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


@pytest.mark.parametrize("paper", ["abir", "adaptive_triplet", "cluster_mac", "regional_attention", "udq"])
@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
def test_every_paper_renders_in_every_format(call, results, paper, kind):
    status, printed = call("leaderboard", "--results", results, "--paper", paper, "--format", kind)
    assert status == 0
    assert printed


def test_a_missing_results_folder_is_an_error(call, tmp_path):
    with pytest.raises(BenchError, match="there is no folder"):
        call("leaderboard", "--results", tmp_path / "nowhere")


def test_the_table_commands_import_nothing_heavy(results):
    code = (
        "import sys, argparse; from retrieval_bench.commands import add_commands\n"
        "parser = argparse.ArgumentParser(); add_commands(parser.add_subparsers())\n"
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
