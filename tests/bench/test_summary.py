from pathlib import Path

import pytest

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.results import Data
from retrieval_bench.bench.suite import read_suite
from retrieval_bench.bench.summary import boards


def _stored(*results):
    return {Path(f"{i}/result.json"): result for i, result in enumerate(results)}


def test_mean_and_sample_deviation_over_seeds(make_result):
    # Mean of 0.70, 0.73, 0.79 is 0.74; deviations -0.04, -0.01, 0.05; their squares sum to 0.0042; halved, 0.0021.
    results = [make_result(seed=s, metrics=(v, 0.9)) for s, v in enumerate((0.70, 0.73, 0.79))]
    ((row,),) = [board.rows for board in boards(_stored(*results))]
    spread = row.metric("recall_at_1")
    assert spread.mean == pytest.approx(0.74)
    assert spread.std == pytest.approx(0.0021**0.5)
    assert row.metric("recall_at_2").std == pytest.approx(0)
    assert row.cost("training_seconds") == pytest.approx(90)


def test_one_seed_has_no_deviation(make_result):
    (board,) = boards(_stored(make_result()))
    assert board.rows[0].metric("recall_at_1").std is None


def test_a_missing_seed_is_no_average(make_result):
    results = [make_result(seed=0), make_result(seed=1), make_result(variant="no_se", seed=0, metrics=(0.4, 0.6))]
    (board,) = boards(_stored(*results))
    whole, partial = board.rows
    assert (whole.setting, whole.metric("recall_at_1").mean) == ("abir", 0.5)
    assert (partial.setting, partial.metric("recall_at_1"), partial.cost("bytes_per_image")) == (
        "abir-no_se",
        None,
        None,
    )
    assert partial.gaps("recall_at_1") == ["1 of 2 seeds; missing: 1 (seed 0: R@1 40.0)"]


def test_a_suite_says_which_seeds_and_settings_belong_in_its_table(make_result, suite_file):
    suite = read_suite(suite_file("datasets: [cub]\nmethods: {abir: [full, no_se]}\nseeds: [0, 1]\n"))
    results = _stored(make_result(seed=0), make_result(seed=1), make_result(seed=7, metrics=(1.0, 1.0)))
    (board,) = boards(results, {"tiny": suite})
    full, variant = board.rows
    assert full.metric("recall_at_1").mean == 0.5
    assert full.gaps("recall_at_1") == ["not counted, since the suite does not list them: seeds 7"]
    assert (variant.setting, variant.metric("recall_at_1")) == ("abir-no_se", None)
    assert variant.gaps("recall_at_1") == ["0 of 2 seeds; missing: 0, 1"]


def test_seeds_of_two_configurations_are_not_averaged(make_result):
    results = _stored(make_result(seed=0), make_result(seed=1, config_hash="fedcba9876543210"))
    (board,) = boards(results)
    assert board.rows[0].metric("recall_at_1") is None
    assert board.rows[0].gaps("recall_at_1") == [
        "the seeds ran different configurations: 0123456789abcdef, fedcba9876543210"
    ]


def test_seeds_that_read_different_data_are_not_averaged(make_result):
    other = Data(fingerprint="xyz", edition="original", counts={})
    (board,) = boards(_stored(make_result(seed=0), make_result(seed=1, data=other)))
    assert board.rows[0].metric("recall_at_1") is None
    assert board.rows[0].gaps("recall_at_1") == ["the seeds read different data: fingerprints abc, xyz"]


def test_each_fingerprint_has_a_board_of_its_own(make_result, protocol):
    other = protocol("cub", name="official")
    part = protocol("cub", edition="partial-123")
    results = _stored(make_result(), make_result(protocol=other), make_result(protocol=part))
    found = boards(results)
    assert len(found) == 3
    assert all(len(board.rows) == 1 for board in found)
    assert {board.protocol.fingerprint for board in found} == {p.fingerprint for p in (protocol("cub"), other, part)}


def test_the_best_stand_first_and_the_incomplete_last(make_result):
    results = _stored(
        make_result(method="a", metrics=(0.3, 0.5), seed=0),
        make_result(method="a", metrics=(0.3, 0.5), seed=1),
        make_result(method="b", metrics=(0.9, 0.9), seed=0),
        make_result(method="c", metrics=(0.6, 0.7), seed=0),
        make_result(method="c", metrics=(0.6, 0.7), seed=1),
    )
    (board,) = boards(results)
    assert [row.method for row in board.rows] == ["c", "a", "b"]


def test_metrics_stand_in_the_protocols_order_then_further_ones(make_result, protocol):
    first = protocol("cub", metrics=("recall_at_2", "recall_at_1"))
    result = make_result(protocol=first)
    (board,) = boards(_stored(make_result(method="x", protocol=first), result))
    assert board.metrics == ("recall_at_2", "recall_at_1")


def test_a_metric_only_some_seeds_have_is_missing(make_result):
    results = _stored(make_result(seed=0, before={"recall_at_1": 0.1}), make_result(seed=1))
    (board,) = boards(results)
    assert board.rows[0].metric("recall_at_1", "before") is None
    assert board.rows[0].metric("recall_at_1") is not None


def test_one_run_twice_is_an_error_that_names_both_files(make_result):
    with pytest.raises(BenchError, match=r"cub/abir/s0 of suite tiny is there twice: 0/result.json and 1/result.json"):
        boards(_stored(make_result(), make_result()))
