"""``dashboard``: what it would make in Weights & Biases, read back from files."""

import json
import sys

import pytest
from wandb_files import read_run

from retrieval_bench.bench.results import Cost
from retrieval_bench.cli import main

# Of wandb-workspaces itself.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results(store, make_result):
    return store(
        *(make_result(seed=seed, metrics=(0.5 + seed / 10, 0.8)) for seed in (0, 1)),
        *(make_result(method="rmac", seed=seed, metrics=(0.4, 0.6)) for seed in (0, 1)),
        make_result(suite="other", dataset="sop", cost=Cost(ms_per_query=2)),
    )


def panels(specification):
    """Of each section, by its name, what its panels are and say."""
    sections = specification["section"]["panelBankConfig"]["sections"]
    return {x["name"]: [(p["viewType"], p["config"]) for p in x["panels"]] for x in sections}


def test_offline_it_leaves_leaderboards_and_a_workspace_of_all_that_was_measured(results, tmp_path, capsys):
    assert main(["dashboard", "--suite", "tiny", "--results", str(results), "--offline", str(tmp_path / "board")]) == 0
    assert str(tmp_path / "board" / "workspace.json") in capsys.readouterr().out

    run = read_run(tmp_path / "board")
    assert (run.name, run.group, run.job_type, run.tags) == (
        "leaderboard/tiny",
        "leaderboard",
        "leaderboard",
        ["tiny"],
    )
    specification = json.loads((tmp_path / "board" / "workspace.json").read_text())
    made = panels(specification)
    (key,) = [name.removesuffix(".path") for row in run.history for name in row if name.endswith(".path")]
    columns, rows = run.table(key)
    first, second = (dict(zip(columns, row, strict=True)) for row in rows)
    assert (first["method"], second["method"]) == ("abir", "rmac")
    assert (first["R@1"], second["R@1"]) == (pytest.approx(0.55), pytest.approx(0.4))
    assert first["R@1 ± deviation"] == "55.0 ± 7.1"
    assert (first["bytes/image"], first["training"], first["seeds"]) == (2048, 90, 2)
    assert "results" not in columns

    assert [config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] for _, config in made["Leaderboards"]] == [
        key
    ]
    bars = [config["metrics"] for kind, config in made["Metrics"] if kind == "Bar Chart"]
    assert bars == [["eval/zero-shot/recall_at_1"], ["eval/zero-shot/recall_at_2"]]
    axes = [(config["xAxis"], config["yAxis"]) for _, config in made["Accuracy and cost"]]
    assert ("summary:cost/bytes_per_image", "summary:eval/zero-shot/recall_at_1") in axes
    assert [x.get("metricRegex", x["metrics"]) for _, x in made["Training"]] == ["^train/", ["val/recall_at_1"]]
    assert "ranked" in json.dumps(made["Ranked results"])
    assert next(config["mediaKeys"] for _, config in made["Pictures"]) == ["pictures/attention"]
    (shown,) = specification["section"]["runSets"]
    assert [(x["section"], x["name"]) for x in shown["grouping"]] == [("run", "group")]
    assert '"tiny"' in json.dumps(shown["filters"])
    assert "other" not in json.dumps(specification)


def test_without_a_login_it_says_what_to_do(results, capsys, monkeypatch):
    monkeypatch.setattr("wandb.api", type("Api", (), {"api_key": None}))
    assert main(["dashboard", "--results", str(results)]) == 1
    assert "nobody is logged in to Weights & Biases: do `wandb login`" in capsys.readouterr().err


def test_a_refusal_is_one_line(results, capsys, monkeypatch):
    def refuse(**options):
        raise OSError("no route to host")

    monkeypatch.setattr("wandb.init", refuse)
    monkeypatch.setattr("retrieval_bench.bench.dashboard.account", lambda: "somebody")
    assert main(["dashboard", "--results", str(results)]) == 1
    assert "does not take the dashboard (no route to host); --offline DIR" in capsys.readouterr().err


def test_a_missing_package_is_named(results, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2.interface", None)
    assert main(["dashboard", "--results", str(results), "--offline", str(tmp_path / "board")]) == 1
    assert "pip install 'retrieval-bench[dashboard]'" in capsys.readouterr().err


def test_without_results_there_is_nothing_to_show(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    assert main(["dashboard", "--results", str(tmp_path / "results"), "--offline", str(tmp_path / "board")]) == 1
    assert "there are no results in" in capsys.readouterr().err
    assert not (tmp_path / "board").exists()


def test_a_name_that_is_none_of_a_project_is_one_line(results, tmp_path, capsys):
    words = ("--suite", "tiny", "--results", str(results), "--offline", str(tmp_path / "board"), "--project", "a/b")
    assert main(["dashboard", *words]) == 1
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert "refuses the leaderboards: Invalid project name 'a/b'" in printed[0]
