"""Every row and figure of UDQ's paper is a run of a shipped suite."""

import inspect
import re
from itertools import product
from pathlib import Path

import pytest
import yaml

from retrieval_bench.bench.papers import read_papers, setting_of, way_of
from retrieval_bench.bench.plan import expand
from retrieval_bench.bench.suite import read_suite
from retrieval_bench.methods import UDQ

ROOT = Path(__file__).parents[2]
SUITES = ["udq_table2", "udq_table3", "udq_table4", "udq_table5_oxford", "udq_table5_paris", "udq_figures"]


@pytest.fixture(scope="module")
def paper():
    return read_papers(ROOT / "results" / "papers")["udq"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Data set, variant and options of every run of UDQ's suites."""
    folder = tmp_path_factory.mktemp("runs")
    defaults = {name: option.default for name, option in inspect.signature(UDQ).parameters.items()}
    made = {}
    for name in SUITES:
        for run in expand(read_suite(ROOT / f"benchmarks/suites/{name}.yaml"), output=folder, data_dir=folder):
            options = dict(defaults)
            for file in run.configs:
                options |= yaml.safe_load(file.read_text()).get("model", {}).get("init_args", {})
            made[run.id.dataset, run.id.variant] = options | run.overrides["model"]["init_args"]
    return made


def test_every_number_of_the_tables_is_a_run(runs, paper):
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
                # Tables 5 and 6 say in their captions what is best on each city.
                best = ("resnet101", 8, 512 if column.dataset.startswith("oxford") else 256)
                expected = best if row.M is None else (column.backbone, row.M, row.K)
                assert (options["backbone"], options["subspaces"], options["codewords"]) == expected
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
            assert all(o["backbone"] == backbone for o in (*swept, *shelf))
        weights = [runs[dataset, f"lambda_1e{i}"] for i in (5, 4, 3, 2)]
        assert [options["discriminability_weight"] for options in weights] == [1e-5, 1e-4, 1e-3, 1e-2]
        assert all((o["backbone"], o["subspaces"], o["codewords"]) == ("vgg16", 4, 256) for o in weights)


def test_the_sweeps_that_the_figures_name_are_runs(runs, paper):
    swept = {figure["id"]: _variants(figure["config_sweep"]) for figure in paper.figures}
    assert {name: len(variants) for name, variants in swept.items()} == {"F3": 2 * 8, "F4": 4}
    known = {variant for _, variant in runs}
    assert all(variant in known for variants in swept.values() for variant in variants)


def _variants(sweep):
    """``udq/a_{x,y}`` as ``a_x`` and ``a_y``."""
    parts = re.split(r"\{(.*?)\}", sweep.removeprefix("udq/"))
    return ["".join(words) for words in product(*(part.split(",") for part in parts))]


def test_a_settings_other_name_has_the_same_configuration(runs, paper):
    assert {runs["oxford5k", name]["rounds"] for name in paper.other_names} == {None, 2}
    for name, tabled in paper.other_names.items():
        assert runs["oxford5k", name] == runs["oxford5k", tabled]


def test_the_papers_rows_look_at_proposals_of_their_own_trunk(runs):
    assert {options["proposals"] for options in runs.values()} == {"data/proposals/{backbone}"}
