"""Every row and figure of UDQ's paper is a run of a shipped suite."""

from pathlib import Path

import pytest
import yaml

from retrieval_bench.bench.papers import read_papers, setting_of, way_of
from retrieval_bench.bench.plan import expand
from retrieval_bench.bench.suite import read_suite

ROOT = Path(__file__).parents[2]
SUITES = ["udq_table2", "udq_table3", "udq_table4", "udq_table5_oxford", "udq_table5_paris", "udq_figures"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Data set, variant and options of every run of UDQ's suites."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name in SUITES:
        for run in expand(read_suite(ROOT / f"benchmarks/suites/{name}.yaml"), output=folder, data_dir=folder):
            options = {}
            for file in run.configs:
                options |= yaml.safe_load(file.read_text()).get("model", {}).get("init_args", {})
            made[run.id.dataset, run.id.variant] = options | run.overrides["model"]["init_args"]
    return made


def test_every_number_of_the_tables_is_a_run(runs):
    paper = read_papers(ROOT / "results" / "papers")["udq"]
    named = set()
    for table in paper.tables:
        for row in table.rows:
            for column in table.columns:
                setting = setting_of(paper, row, column) if row.values[column.id] is not None else None
                if setting is None:
                    continue
                assert way_of(row, column) == "crop-x"
                named.add((column.dataset, setting[1]))
                options = runs[column.dataset, setting[1]]
                if row.M is not None:
                    assert (options["subspaces"], options["codewords"]) == (row.M, row.K)
                    assert options.get("backbone", "resnet101") == column.backbone
    assert len(named) == 12 * 2 + 12 * 3 + 12 * 4 + 4 * 4  # Tables 2 to 5; Table 6 repeats a row


def test_rounds_and_lambda_are_swept_as_in_the_figures(runs):
    for dataset in ("oxford5k", "paris6k"):
        for backbone in ("vgg16", "resnet101"):
            swept = [runs[dataset, f"{backbone}_rounds{i}"] for i in range(6)]
            assert [options["rounds"] for options in swept] == list(range(6))
            shelf = [runs[dataset, f"{backbone}_off_the_shelf{end}"] for end in ("", "_opq")]
            assert [options["rounds"] for options in shelf] == [None, None]
            assert not shelf[0]["quantize"]
            assert all((o["subspaces"], o["codewords"]) == (4, 256) for o in (*swept, shelf[1]))
            assert all(o.get("backbone", "resnet101") == backbone for o in (*swept, *shelf))
        weights = [runs[dataset, f"lambda_1e{i}"] for i in (5, 4, 3, 2)]
        assert [options["discriminability_weight"] for options in weights] == [1e-5, 1e-4, 1e-3, 1e-2]
        assert all((o["backbone"], o["subspaces"], o["codewords"]) == ("vgg16", 4, 256) for o in weights)


def test_the_papers_rows_look_at_proposals_of_their_own_trunk(runs):
    assert {options["proposals"] for options in runs.values()} == {"data/proposals/{backbone}"}
