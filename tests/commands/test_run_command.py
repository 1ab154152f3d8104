import pytest

from retrieval_bench.bench import runner
from retrieval_bench.bench.results import write_result
from retrieval_bench.bench.runner import Outcome

SUITE = "datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0, 1]\n"


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
