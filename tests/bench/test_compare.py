"""Settings held against each other: found by name, refused where they may not be, told query by query."""

from dataclasses import replace

import numpy as np
import pytest
from paired_cases import store_queries  # noqa: F401

from retrieval_bench.bench.compare import compare, result_files
from retrieval_bench.bench.comparison_page import comparison_data, comparison_page
from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.results import Data, write_result
from retrieval_bench.bench.statistics import paired

NAN = np.nan
A = np.array([[1.0, 1.0, 0.0, NAN, 1.0], [1.0, 0.0, 0.0, NAN, 1.0]])
B = np.array([[1.0, 0.0, 1.0, NAN, 0.0], [1.0, 0.0, 1.0, NAN, 1.0]])


@pytest.fixture
def sides(store_queries):  # noqa: F811
    """The result files of two settings with the values above."""
    rows = [40, 10, 30, 20, 50]
    return store_queries(A, query=rows), store_queries(B, query=rows, variant="no_se")


def test_two_settings_are_compared_by_the_main_metric_of_their_protocol(sides):
    found = compare(*sides)
    assert (found.metric, found.names) == ("recall_at_1", ("tiny/cub/abir", "tiny/cub/abir-no_se"))
    assert found.query.tolist() == [40, 10, 30, 20, 50]
    np.testing.assert_array_equal(found.paired.per_query, [0.0, 0.5, -1.0, NAN, 0.5])
    assert (found.paired.wins, found.paired.losses, found.paired.ties, found.left_out) == (2, 1, 1, 1)
    assert (found.paired.low, found.paired.high) == (paired(A, B).low, paired(A, B).high)
    # Seeds of A reach 3 and 2 of the 4 queries that count; those of B 2 and 3.
    for value in found.spreads:
        assert (value.mean, value.std) == (0.625, pytest.approx(np.std([0.75, 0.5], ddof=1)))
    assert found.extremes(1) == ([1], [2])
    assert found.extremes(10) == ([1, 4], [2])


def test_another_metric_may_be_asked_for(sides):
    found = compare(*sides, "recall_at_2")
    np.testing.assert_array_equal(found.paired.per_query, [0.0, 0.25, -0.5, NAN, 0.25])
    with pytest.raises(BenchError, match="no metric recall_at_3 in common; did you mean recall_at_"):
        compare(*sides, "recall_at_3")


def test_one_run_is_named_with_its_seed_and_its_spread_is_unknown(sides):
    found = compare(sides[0][1:], sides[1])
    assert found.names == ("tiny/cub/abir/s1", "tiny/cub/abir-no_se")
    assert found.spreads[0].std is None
    text = comparison_page(found).about[2]
    assert "over queries and B's seeds" in text
    assert "A has one seed: the spread over seeds is unknown" in text
    assert "unknown" not in comparison_page(compare(*sides)).about[2]


def test_the_page_tells_verdict_numbers_and_queries(sides):
    page = comparison_page(compare(*sides))
    assert page.title == "R@1: within noise"
    assert page.about[0].startswith("±0.00 points, 95 % interval −")
    assert page.about[1] == "Of 4 queries A wins 2, B wins 1, 1 is equal; 1 more left out, for want of a value."
    both, won, lost = page.tables
    assert [[cell.text for cell in row] for row in both.rows] == [
        ["A", "tiny/cub/abir", "62.50 ± 17.68", "0, 1"],
        ["B", "tiny/cub/abir-no_se", "62.50 ± 17.68", "0, 1"],
    ]
    assert [[cell.text for cell in row] for row in won.rows] == [
        ["10", "50.0", "0.0", "50.0"],
        ["50", "100.0", "50.0", "50.0"],
    ]
    assert [[cell.text for cell in row] for row in lost.rows] == [["30", "0.0", "100.0", "100.0"]]
    paths = [f"{row}.jpg" for row in range(60)]
    assert comparison_page(compare(*sides), paths).tables[1].rows[0][0].text == "10.jpg"


@pytest.mark.parametrize(("lift", "title"), [(0.9, "R@1: A is better"), (-0.9, "R@1: B is better")])
def test_the_verdict_is_said_in_words(store_queries, lift, title):  # noqa: F811
    low, high = np.full((2, 20), 0.05), np.full((2, 20), 0.05 + abs(lift))
    values = (high, low) if lift > 0 else (low, high)
    found = compare(store_queries(values[0]), store_queries(values[1], variant="no_se"))
    assert comparison_page(found).title == title
    assert found.paired.p_value < 0.01


def test_programs_get_fractions(sides):
    data = comparison_data(compare(*sides), [f"{row}.jpg" for row in range(60)])
    assert (data["a"]["mean"], data["difference"], data["left_out"], data["verdict"]) == (0.625, 0.0, 1, "noise")
    assert data["b_wins_most"] == [{"row": 30, "path": "30.jpg", "difference": -1.0}]


def test_what_was_measured_in_another_way_is_refused_by_name(store_queries, protocol):  # noqa: F811
    a = store_queries(A)
    b = store_queries(B, method="other", protocol=protocol("cub", self_match="keep", edition="partial-1"))
    with pytest.raises(BenchError) as caught:
        compare(a, b)
    assert str(caught.value) == (
        "tiny/cub/abir and tiny/cub/other were measured in different ways: self_match exclude against keep, "
        "edition original against partial-1"
    )
    c = store_queries(B, method="third", data=Data(fingerprint="xyz", edition="original", counts={}))
    with pytest.raises(BenchError, match="read different data: fingerprint abc against xyz"):
        compare(a, c)


def test_a_side_is_one_setting_in_one_configuration(sides, store_queries, make_result):  # noqa: F811
    with pytest.raises(BenchError, match="one setting, got tiny/cub/abir, tiny/cub/abir-no_se"):
        compare(sides[0] + sides[1], sides[1])
    write_result(sides[0][1], replace(make_result(seed=1), config_hash="f" * 16))
    with pytest.raises(BenchError, match=r"seeds of tiny/cub/abir ran different configurations \(0123.*, ffff"):
        compare(*sides)


def test_missing_and_foreign_values_of_queries_are_one_line(sides, store_queries):  # noqa: F811
    other = store_queries(B, variant="no_se", query=[1, 2, 3, 4, 5])
    with pytest.raises(BenchError, match="have other queries"):
        compare(sides[0], other)
    broken = sides[0][0].with_name("per_query.npz")
    broken.write_bytes(b"nothing")
    with pytest.raises(RecordError, match=r"s0/per_query\.npz: this is no file of queries"):
        compare(*sides)
    broken.unlink()
    with pytest.raises(BenchError, match="s0 has no values of single queries"):
        compare(*sides)


def test_a_setting_is_found_by_its_name_its_folder_and_its_files(sides, tmp_path, monkeypatch):
    results = tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    for name in ("tiny/cub/abir", "results/runs/tiny/cub/abir/", str(results / "runs/tiny/cub/abir")):
        assert [file.resolve() for file in result_files(name, results)] == sides[0]
    for name in ("tiny/cub/abir/s1", "results/runs/tiny/cub/abir/s1/", "results/runs/tiny/cub/abir/s1/result.json"):
        assert [file.resolve() for file in result_files(name, results)] == sides[0][1:]


def test_seeds_stand_in_the_order_of_their_numbers_and_old_runs_stay_out(store_queries, tmp_path):  # noqa: F811
    files = store_queries(np.ones((11, 3)))
    aside = files[0].parent.with_name("s0.old-1")
    aside.mkdir()
    (aside / "result.json").write_text(files[0].read_text())
    assert [file.parent.name for file in result_files("tiny/cub/abir", tmp_path / "results")] == [
        f"s{seed}" for seed in range(11)
    ]


def test_what_is_no_run_is_told_what_there_is(sides, tmp_path):
    results = tmp_path / "results"
    with pytest.raises(BenchError, match=r"no run tiny/cub/abri, .*; did you mean tiny/cub/abir\?"):
        result_files("tiny/cub/abri", results)
    with pytest.raises(BenchError, match=r"no run zzz, .* \(there are runs of tiny\)"):
        result_files("zzz", results)
    with pytest.raises(
        BenchError, match="holds several settings; name one of them: tiny/cub/abir, tiny/cub/abir-no_se"
    ):
        result_files("tiny/cub", results)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BenchError, match=r"notes\.txt is no run: name its result\.json"):
        result_files(str(tmp_path / "notes.txt"), results)
    (results / "runs" / "empty").mkdir()
    with pytest.raises(BenchError, match="holds no result"):
        result_files("empty", results)
