import pytest

from retrieval_bench.bench.errors import BenchError


def test_a_report_is_written_where_it_says(call, store, make_result):
    results = store(make_result())
    status, printed = call("report", "--results", results)
    assert status == 0
    assert "1 result; open" in printed
    assert (results / "report" / "index.html").is_file()


def test_only_one_suite_is_reported(call, store, make_result, tmp_path):
    results = store(make_result(suite="first"), make_result(suite="second", method="rmac"))
    call("report", "--results", results, "--suite", "second", "--output", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "rmac" in page
    assert "first" not in page.partition("How to read this")[0].replace("first K", "")


def test_a_wrong_suite_is_named(call, store, make_result):
    with pytest.raises(BenchError, match="there is no suite nosuch"):
        call("report", "--results", store(make_result()), "--suite", "nosuch")


def test_a_folder_of_something_else_is_not_replaced(call, store, make_result):
    results = store(make_result())
    with pytest.raises(BenchError, match="--output"):
        call("report", "--results", results, "--output", results)
    assert list(results.rglob("result.json"))
