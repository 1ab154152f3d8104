"""``compare`` as it is typed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from paired_cases import store_queries  # noqa: F401

from retrieval_bench.bench.errors import BenchError

HIGH, LOW = np.ones((2, 30)), np.full((2, 30), 0.25)


@pytest.fixture
def results(store_queries, tmp_path):  # noqa: F811
    """A setting that finds everything, and one that finds a quarter."""
    store_queries(HIGH)
    store_queries(LOW, variant="no_se")
    return tmp_path / "results"


def test_verdict_numbers_and_queries_are_printed(call, results):
    status, printed = call("compare", "tiny/cub/abir", "tiny/cub/abir-no_se", "--results", results)
    assert status == 0
    assert "R@1: A is better" in printed
    assert "+75.00 points, 95 % interval +75.00 to +75.00, p = 0.0001." in printed
    assert "Of 30 queries A wins 30, B wins 0, 0 are equal." in printed
    assert "Where A wins most" in printed
    assert "Where B wins most" not in printed


def test_json_is_whole_and_may_be_of_another_metric(call, results):
    words = ("compare", "tiny/cub/abir-no_se", "tiny/cub/abir", "--results", results, "--metric", "recall_at_2")
    data = json.loads(call(*words, "--json")[1])
    assert (data["metric"], data["difference"], data["verdict"]) == ("recall_at_2", -0.375, "worse")
    assert [query["row"] for query in data["b_wins_most"]] == list(range(10))


def test_a_run_that_is_not_there_is_one_line(call, results):
    with pytest.raises(BenchError, match=r"no run tiny/cub/abirr, .*did you mean"):
        call("compare", "tiny/cub/abirr", "tiny/cub/abir", "--results", results)


def test_a_data_folder_without_the_pictures_is_one_line(call, results, tmp_path):
    words = ("compare", "tiny/cub/abir", "tiny/cub/abir-no_se", "--results", results)
    with pytest.raises(BenchError, match=r"elsewhere has no folder cub with the pictures .* without --data-dir"):
        call(*words, "--data-dir", tmp_path / "elsewhere")


def test_comparing_never_loads_the_tensor_library(results):
    check = (
        "import sys; from retrieval_bench.cli import main\n"
        f"main(['compare', 'tiny/cub/abir', 'tiny/cub/abir-no_se', '--results', {str(results)!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
