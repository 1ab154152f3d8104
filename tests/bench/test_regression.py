import argparse
import json

import pytest

from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.regression import compare, make_baseline, read_baseline, write_baseline
from retrieval_bench.bench.results import read_results
from retrieval_bench.commands import regress as command


@pytest.fixture
def regress(store, capsys):
    """Runs the command on some results; returns its exit status and what it printed."""

    def call(*arguments, results=()):
        folder = store(*results)
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        options = parser.parse_args(["regress", "tiny", "--results", str(folder), *arguments])
        status = options.handler(options)
        return status, capsys.readouterr().out

    return call


def test_a_fall_beyond_the_tolerance_fails_with_a_table(regress, make_result):
    assert regress("--update", "--tolerance", "0.03", results=[make_result(metrics=(0.5, 0.6))])[0] == 0
    status, printed = regress(results=[make_result(metrics=(0.46, 0.6))])
    assert status == 1
    (row,) = [line for line in printed.splitlines() if line.startswith("cub/abir/s0")]
    assert row.split() == ["cub/abir/s0", "R@1", "50.0", "46.0", "−4.0", "worse"]


@pytest.mark.parametrize("found", [0.47, 0.5, 0.53])
def test_a_change_of_up_to_the_tolerance_passes(regress, make_result, found):
    regress("--update", "--tolerance", "0.03", results=[make_result(metrics=(0.5, 0.6))])
    status, printed = regress(results=[make_result(metrics=(found, 0.6))])
    assert status == 0
    assert "holds its baseline: 1 run (tolerance 3.0 points)" in printed
    assert "better" not in printed


def test_what_became_better_is_said_and_passes(regress, make_result):
    regress("--update", results=[make_result(metrics=(0.5, 0.6))])
    status, printed = regress(results=[make_result(metrics=(0.9, 0.6))])
    assert status == 0
    assert "+40.0  better" in printed


def test_a_missing_run_fails(regress, make_result, store):
    regress("--update", results=[make_result(), make_result(variant="no_se")])
    (store() / "runs/tiny/cub/abir-no_se/s0/result.json").unlink()
    status, printed = regress()
    assert status == 1
    assert [line.split()[-1] for line in printed.splitlines() if "no_se" in line] == ["missing", "missing"]


def test_a_missing_metric_fails(make_result, store):
    baseline = make_baseline("tiny", read_results(store(make_result())), 0.1)
    found = compare(baseline, read_results(store(make_result(metrics=(0.5,)))))
    assert [(f.metric, f.verdict) for f in found] == [("recall_at_1", "same"), ("recall_at_2", "missing")]


def test_another_protocol_fails_even_with_better_numbers(regress, make_result, protocol):
    regress("--update", results=[make_result()])
    status, printed = regress(results=[make_result(metrics=(0.9, 0.9), protocol=protocol("cub", self_match="keep"))])
    assert status == 1
    assert "other protocol" in printed


def test_a_run_the_baseline_does_not_know_passes_and_is_named(regress, make_result):
    regress("--update", results=[make_result()])
    status, printed = regress(results=[make_result(method="x")])
    assert status == 0
    assert "cub/x/s0" in printed


def test_an_update_prints_the_difference_and_keeps_the_tolerance(regress, make_result, store):
    regress("--update", "--tolerance", "0.05", results=[make_result(metrics=(0.5, 0.6))])
    status, printed = regress("--update", results=[make_result(metrics=(0.3, 0.6))])
    assert status == 0
    assert "−20.0" in printed
    baseline = read_baseline(store() / "baselines/tiny.json")
    assert (baseline.tolerance, baseline.runs["cub/abir/s0"].metrics["recall_at_1"]) == (0.05, 0.3)
    assert regress()[0] == 0


def test_an_update_never_forgets_a_run(regress, make_result, store):
    regress("--update", results=[make_result(), make_result(variant="no_se")])
    before = (store() / "baselines/tiny.json").read_text()
    (store() / "runs/tiny/cub/abir-no_se/s0/result.json").unlink()
    with pytest.raises(BenchError, match=r"lack 1 run of the baseline .*\(cub/abir-no_se/s0\).*or delete the baseline"):
        regress("--update")
    assert (store() / "baselines/tiny.json").read_text() == before


@pytest.mark.parametrize("tolerance", ["3", "-0.1", "1", "nan"])
def test_a_tolerance_is_a_fraction(regress, make_result, store, tolerance):
    with pytest.raises(BenchError, match="expected a fraction"):
        regress("--update", f"--tolerance={tolerance}", results=[make_result()])
    assert not (store() / "baselines").exists()


def test_an_unknown_suite_is_named_with_the_known_ones(regress, make_result, monkeypatch, tmp_path, suite_file):
    suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n", name="tinny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=r"there is no suite tiny: .* did you mean tinny\?"):
        regress(results=[make_result(suite="other")])


def test_results_of_an_earlier_configuration_are_pointed_out(regress, plan, make_result, monkeypatch, tmp_path):
    (run,) = plan("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n")
    monkeypatch.chdir(tmp_path)
    status, printed = regress("--update", results=[make_result(config_hash=run.config_hash)])
    assert (status, "earlier configuration" in printed) == (0, False)
    status, printed = regress(results=[make_result()])
    assert status == 0
    assert "1 run made with an earlier configuration than the suite's of today (cub/abir/s0)" in printed


def test_without_a_baseline_or_results_the_next_step_is_named(regress, make_result):
    with pytest.raises(BenchError, match="--update` writes one"):
        regress(results=[make_result()])
    with pytest.raises(BenchError, match=r"run tiny` makes them"):
        make_baseline("tiny", {}, 0.1)
    with pytest.raises(BenchError, match="together with --update"):
        regress("--tolerance", "0.5")


def test_a_baseline_is_read_back_and_checked(tmp_path, make_result, store):
    path = tmp_path / "tiny.json"
    baseline = make_baseline("tiny", read_results(store(make_result())), 0.1)
    write_baseline(path, baseline)
    assert read_baseline(path) == baseline
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "tolerance": 2}))
    with pytest.raises(RecordError, match="tolerance is 2"):
        read_baseline(path)
