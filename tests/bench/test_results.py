import dataclasses
import json

import pytest

from retrieval_bench.bench.errors import BenchError, RecordError
from retrieval_bench.bench.results import RunId, read_result, read_results, write_result


def test_what_is_written_is_read_back_unchanged(tmp_path, make_result):
    result = make_result(variant="no_se", before={"recall_at_1": 0.1}, best={"recall_at_1": 1.0}, notes=("a", "b"))
    path = tmp_path / "deep" / "result.json"
    write_result(path, result)
    assert read_result(path) == result
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_the_file_states_version_and_fingerprint(tmp_path, make_result):
    write_result(tmp_path / "result.json", make_result())
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["schema_version"] == 1
    assert content["protocol"]["fingerprint"] == make_result().protocol.fingerprint


def test_the_name_of_a_run_is_its_coordinates():
    run = RunId(suite="s", dataset="cub", method="abir", variant="no_se", seed=3)
    assert run.name == "cub/abir-no_se/s3"
    assert dataclasses.replace(run, variant=None).name == "cub/abir/s3"


def _set(content, dotted, value):
    *groups, last = dotted.split(".")
    for group in groups:
        content = content[group]
    if value is KeyError:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema_version", 2, "schema_version: expected 1, found 2"),
        ("schema_version", True, "schema_version: expected 1, found True"),
        ("metrics", KeyError, "metrics: this field is missing"),
        ("metrics.recall_at_1", "0.5", "metrics.recall_at_1: expected a finite number, found '0.5'"),
        ("metrics.recall_at_1", True, "metrics.recall_at_1: expected a finite number, found True"),
        ("metrics.recall_at_1", 81.3, "metrics.recall_at_1 is 81.3, but metrics are fractions"),
        ("metrics", {"map": 0.1}, "metrics lacks the protocol's main metric 'recall_at_1'"),
        ("before", {"recall_at_1": -0.1}, "before.recall_at_1 is -0.1"),
        ("run.seed", "0", "run.seed: expected a whole number, found '0'"),
        ("run.sead", 0, "run.sead: unknown field; did you mean seed?"),
        ("run.dataset", "sop", "run.dataset is 'sop', but protocol.dataset is 'cub'"),
        ("cost.ms_per_query", -1, "cost: ms_per_query is -1.0"),
        ("code.dirty", None, "code.dirty: expected true or false, found None"),
        ("notes", "one", "notes: expected a list, found 'one'"),
        ("notes", ["one", 2], r"notes\[1\]: expected a text, found 2"),
        ("per_query", "../elsewhere.npz", "per_query is '../elsewhere.npz', but it must lie beside"),
        ("finished", "2026-01-02T03:04:05", "finished is '2026-01-02T03:04:05', which names no time zone"),
        ("protocol.self_match", "maybe", "protocol.self_match: expected 'exclude' or 'keep', found 'maybe'"),
        ("protocol.name", "official", "protocol.fingerprint: .* is not the fingerprint of the protocol's fields"),
        ("protocol.fingerprint", KeyError, "protocol.fingerprint: this field is missing"),
    ],
)
def test_a_broken_field_is_named_with_its_file(tmp_path, make_result, field, value, message):
    path = tmp_path / "result.json"
    write_result(path, make_result())
    content = json.loads(path.read_text())
    _set(content, field, value)
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message) as error:
        read_result(path)
    assert str(path) in str(error.value)


def test_nan_is_neither_written_nor_read(tmp_path, make_result):
    path = tmp_path / "result.json"
    with pytest.raises(ValueError, match="metrics"):
        make_result(metrics=(float("nan"), 0.5))
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_result(path, make_result(config={"x": float("nan")}))
    assert list(tmp_path.iterdir()) == []
    write_result(path, make_result())
    path.write_text(path.read_text().replace("0.25", "NaN"))
    with pytest.raises(RecordError, match="ms_per_query: expected a finite number"):
        read_result(path)


def test_half_a_file_is_an_error_that_names_it(tmp_path, make_result, store):
    folder = store(make_result(), make_result(seed=1))
    broken = folder / "runs/tiny/cub/abir/s1/result.json"
    broken.write_text(broken.read_text()[:100])
    with pytest.raises(RecordError, match=r"s1/result.json: this is no JSON"):
        read_results(folder)


def test_results_are_found_in_depth_but_not_in_folders_moved_aside(make_result, store):
    folder = store(make_result(seed=1), make_result(seed=0))
    aside = folder / "runs/tiny/cub/abir/s0.old-01234567"
    write_result(aside / "result.json", make_result(seed=0))
    assert [result.run.seed for result in read_results(folder).values()] == [0, 1]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(BenchError, match="there is no folder"):
        read_results(tmp_path / "nowhere")
