import shlex

import pytest

from retrieval_bench.bench import scheduler
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.results import write_result
from retrieval_bench.commands import submit
from retrieval_bench.errors import OptionError

SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0]\n"


@pytest.fixture
def one_done(plan, make_result):
    """The first run of the suite has its result."""
    run, _ = plan(SUITE)
    write_result(run.folder / "result.json", make_result(config_hash=run.config_hash))
    return run


def test_a_dry_run_shows_what_would_be_submitted_and_submits_nothing(call, suite_file, one_done, tmp_path):
    status, printed = call("submit", suite_file(SUITE), "--output", tmp_path / "results", "--dry-run")
    assert status == 0
    assert printed.splitlines()[0] == "2 runs, 1 would be submitted"
    lines = [line.split() for line in printed.splitlines()]
    assert ["cub/abir/s0", "done", "1", "1"] in lines
    assert ["cub/abir-no_se/s0", "to", "submit", "1", "1"] in lines
    assert not (tmp_path / "results/jobs").exists()


def test_options_reach_the_scheduler_and_jobs_are_shown(call, suite_file, one_done, tmp_path, monkeypatch):
    asked = {}

    def pretend(runs, **options):
        asked.update(options, runs=[run.id.name for run in runs])
        return {1: "7_0"}

    monkeypatch.setattr(scheduler, "submit", pretend)
    options = ["--partition", "gpu", "--time", "2:00:00", "--gpus", 0, "--array-parallel", 3]
    more = ["--sbatch", "mem=64G", "--sbatch", "exclusive"]
    _, printed = call("submit", suite_file(SUITE), "--output", tmp_path / "results", *options, *more)
    assert asked["runs"] == ["cub/abir/s0", "cub/abir-no_se/s0"]
    assert asked["folder"] == tmp_path / "results/jobs/tiny"
    expected = {"partition": "gpu", "mem": "64G", "exclusive": True}
    assert asked["wishes"] == scheduler.Wishes(minutes=120, gpus=0, parallel=3, sbatch=expected)
    assert "2 runs, 1 submitted" in printed
    assert "submitted, job 7_0" in printed
    assert "--dry-run" in printed.splitlines()[-1]


def test_a_wrong_time_is_an_error_that_names_the_option(call, suite_file):
    with pytest.raises(BenchError, match="--time soon"):
        call("submit", suite_file(SUITE), "--time", "soon")


@pytest.mark.parametrize("word", ["=64G", "--mem=64G", "mem 64G", ""])
def test_an_option_of_sbatch_that_is_none_is_refused(call, suite_file, word):
    with pytest.raises(OptionError, match=r"expected KEY=VALUE or KEY, the option without its dashes"):
        call("submit", suite_file(SUITE), f"--sbatch={word}")


@pytest.mark.parametrize("gpus", ["-1", "1.5", "all"])
def test_a_number_of_gpus_is_whole(call, suite_file, capsys, gpus):
    with pytest.raises(SystemExit):
        call("submit", suite_file(SUITE), f"--gpus={gpus}", "--dry-run")
    assert "expected a whole number from 0" in capsys.readouterr().err


def test_where_all_is_done_no_command_is_printed(call, suite_file, one_done, tmp_path):
    words = ("--output", tmp_path / "results", "--variants", "full", "--print-commands")
    assert call("run", suite_file(SUITE), *words) == (0, "")


def test_help_names_every_option_in_its_usage(capsys):
    import argparse

    parser = argparse.ArgumentParser()
    submit.add(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["submit", "--help"])
    usage, _, rest = capsys.readouterr().out.partition("\n\n")
    options = {word.rstrip(",") for line in rest.splitlines() for word in line.split()[:1] if word.startswith("--")}
    assert options
    assert all(option in usage for option in options)


def test_commands_are_printed_one_a_line_for_a_shell_and_only_those_still_to_run(call, suite_file, one_done, tmp_path):
    data = tmp_path / "my data"
    place = ("--output", tmp_path / "results", "--data-dir", data)
    setting = ("--set", "model.init_args.note=it's $HOME")
    _, printed = call("run", suite_file(SUITE), *place, "--print-commands")
    (line,) = printed.splitlines()
    words = shlex.split(line)
    assert words[:2] == ["retrieval-bench", "run"]
    assert words[words.index("--variants") + 1] == "no_se"
    assert words[words.index("--data-dir") + 1] == str(data)
    _, printed = call("run", suite_file(SUITE), *place, *setting, "--print-commands")
    assert all(setting[1] in shlex.split(line) for line in printed.splitlines())
    assert call(*words[1:], "--dry-run")[1].startswith("1 run\n")
