"""Results as curves: which settings share one, what its points are, what is left out."""

import csv
import io
from dataclasses import replace

import pytest
from curve_cases import settings_of, values_of

from retrieval_bench.bench.chart import chart_csv
from retrieval_bench.bench.curves import against_epoch, against_option, read_chart
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.settings import Setting
from retrieval_bench.bench.summary import GUESTS, boards


def test_a_point_is_the_mean_and_sample_deviation_over_seeds_in_percent(result, facts):
    # Mean of 70, 73, 79 is 74; deviations -4, -1, 5; their squares sum to 42; halved, 21.
    results = [result("a_16", v, seed, bits=16) for seed, v in enumerate((0.70, 0.73, 0.79))]
    chart = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts)
    ((point,),) = [curve.points for curve in chart.curves]
    assert (point.x, point.seeds) == (16, 3)
    assert point.value.mean == pytest.approx(74)
    assert point.value.std == pytest.approx(21**0.5)
    assert (chart.panels, chart.y_label, chart.against) == (["Birds, zero-shot"], "R@1 (%)", "bits")
    assert chart.note == "mean and standard deviation over 3 seeds"


def test_settings_that_share_all_but_the_option_are_one_curve(result, facts):
    fixed = {"class_path": "Fixed", "init_args": {"margin": 0.5}}
    results = [
        result("adaptive_64", 0.6, bits=64),
        result("adaptive_16", 0.5, bits=16),
        result("triplet_16", 0.3, bits=16, loss=fixed),
        result("triplet_64", 0.4, bits=64, loss=fixed),
    ]
    chart = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts)
    assert {curve.name.whole: values_of(curve) for curve in chart.curves} == {
        "adaptive": [(16, 50), (64, 60)],
        "triplet": [(16, 30), (64, 40)],
    }
    assert chart.left_out == ()


def test_the_methods_own_config_is_a_point_of_its_sweep(result, facts):
    results = [result("c16", 0.3, bits=16), result("c32", 0.4, bits=32), result(None, 0.5)]
    (curve,) = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts).curves
    assert (curve.name.whole, values_of(curve)) == ("abir", [(16, 30), (32, 40), (64, 50)])


def test_what_is_in_no_sweep_is_left_out_and_named(result, facts):
    results = [result("c16", 0.3, bits=16), result(None, 0.5), result("unit", 0.4, distance="unit")]
    chart = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts)
    assert [curve.name.whole for curve in chart.curves] == ["c16"]
    assert chart.left_out == ("cub/abir-unit: no other setting differs from it in bits alone",)


def test_a_setting_that_lacks_a_seed_is_no_point(result, facts):
    results = [result("c16", 0.3, 0, bits=16), result("c16", 0.3, 1, bits=16), result(None, 0.5, 0)]
    chart = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts)
    assert [values_of(curve) for curve in chart.curves] == [[(16, 30)]]
    assert chart.left_out == ("cub/abir: 1 of 2 seeds; missing: 1 (seed 0: R@1 50.0)",)


def test_one_configuration_under_two_names_is_one_point(result, facts):
    results = [result("c64", 0.5, 0), result("c64", 0.5, 1), result(None, 0.5, 0), result("c16", 0.3, 0, bits=16)]
    results.append(result("c16", 0.3, 1, bits=16))
    (curve,) = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts).curves
    assert values_of(curve) == [(16, 30), (64, 50)]


def test_an_option_that_earlier_code_did_not_have_is_as_good_as_null(result, facts):
    results = [result("c_16", 0.3, bits=16), result("c_64", 0.5, dropout=None)]
    (curve,) = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts).curves
    assert values_of(curve) == [(16, 30), (64, 50)]


def test_curves_of_one_name_say_in_what_they_differ(result, facts):
    results = [
        result(f"{name}_{bits}", 0.5, bits=bits, dim=dim)
        for name, dim in (("a", 1), ("a_wide", 2))
        for bits in (16, 64)
    ]
    results += [result(f"b_{bits}", 0.4, bits=bits, dim=dim) for bits, dim in ((16, 3), (64, 3))]
    results += [result(f"b_{bits}", 0.4, bits=bits, dim=dim) for bits, dim in ((8, 4), (128, 4))]
    names = [
        curve.name.whole
        for curve in against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts).curves
    ]
    assert sorted(names) == ["a", "a_wide", "b, dim 3", "b, dim 4"]


def test_data_sets_and_protocols_are_never_averaged(make_result, protocol, facts):
    official = protocol("cub", name="official")
    results = [make_result(), make_result(dataset="sop"), make_result(protocol=official, variant="x")]
    chart = against_option(settings_of(*results), "recall_at_1", "max_steps", papers={}, facts=facts)
    assert sorted(curve.name.whole for curve in chart.curves) == [
        "abir, cub, zero-shot",
        "abir, sop, zero-shot",
        "x, cub, official",
    ]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ((1, 2, 16), True),
        ((16, 32, 64), False),  # near enough to each other
        ((16, 48, 512), True),
        ((1, 50, 100, 150), False),
        ((1e-5, 1e-4, 1e-3, 1e-2), True),
        ((1e-5, 1e-4, 2e-3), True),
        ((0, 1e-5, 1e-4, 1e-3), True),
        ((0, 1e-5, 1e-2), True),
        ((0, 1, 2, 3, 4, 5), False),
        ((-1, 1, 100), False),
        ((64,), False),
    ],
)
def test_numbers_that_lie_evenly_by_their_ratios_are_on_a_logarithmic_axis(result, facts, values, logarithmic):
    results = [result(f"c{i}", 0.5, weight=value) for i, value in enumerate(values)]
    chart = against_option(settings_of(*results), "recall_at_1", "weight", papers={}, facts=facts)
    assert chart.logarithmic is logarithmic


def test_an_option_that_is_no_number_is_a_choice(result, facts):
    values = ("data/boxes/cub-a0.4.jsonl", None, "data/boxes/cub-a0.2.jsonl")
    results = [result(f"s_{i}", 0.5, saliency=value) for i, value in enumerate(values)]
    chart = against_option(settings_of(*results), "recall_at_1", "saliency", papers={}, facts=facts)
    assert (chart.numeric, chart.logarithmic) == (False, False)
    assert chart.choices == ["none", "cub-a0.2", "cub-a0.4"]
    assert [chart.place(x) for x in chart.values] == [0, 1, 2]


def test_what_was_measured_in_another_way_has_a_panel_of_its_own_and_the_same_short_name(result, facts):
    results = [result(f"c{b}", 0.5, bits=b) for b in (16, 64)]
    results += [
        replace(one, run=replace(one.run, dataset="sop"), protocol=replace(one.protocol, dataset="sop"))
        for one in results
    ]
    chart = against_option(settings_of(*results), "recall_at_1", "bits", papers={}, facts=facts)
    assert chart.panels == ["Birds, zero-shot", "Products, zero-shot"]
    assert [(curve.name.short, curve.name.whole) for curve in chart.curves] == [
        ("abir", "abir, cub"),
        ("abir", "abir, sop"),
    ]


def test_two_parts_of_a_data_set_never_share_a_panel(result, facts):
    whole = [result(f"c{b}", 0.5, bits=b) for b in (16, 64)]
    part = [replace(one, protocol=replace(one.protocol, edition="partial-0a")) for one in whole]
    other = [replace(one, protocol=replace(one.protocol, edition="partial-1b")) for one in whole]
    chart = against_option(settings_of(*whole, *part, *other), "recall_at_1", "bits", papers={}, facts=facts)
    title = "Birds, zero-shot"
    assert sorted(chart.panels) == [title, f"{title}, a part of it, partial-0a", f"{title}, a part of it, partial-1b"]


def test_a_curve_is_called_as_most_of_its_settings_are(result, facts):
    results = [result(f"vgg_rounds{i}", 0.5, rounds=i) for i in (0, 1, 3)] + [result("lambda_1e2", 0.5, rounds=2)]
    (curve,) = against_option(settings_of(*results), "recall_at_1", "rounds", papers={}, facts=facts).curves
    assert (curve.name.whole, len(curve.points)) == ("vgg", 4)


def test_an_option_inside_of_a_list_is_found(result, facts):
    chart = against_option(settings_of(result("a", 0.5)), "recall_at_1", "top", papers={}, facts=facts)
    assert values_of(chart.curves[0]) == [(5, 50)]


@pytest.mark.parametrize(
    ("metric", "option", "message"),
    [
        ("map", "bits", r"no result has a metric map \(known: recall_at_1, recall_at_2\)"),
        ("recall_at_1", "bit", "no result has an option bit; those that differ: model.init_args.bits"),
        ("recall_at_1", "class_path", "several options end in class_path: .*model.class_path, .*; name one of them"),
        ("recall_at_1", "run_dir", "no result has an option run_dir"),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_there_is(result, facts, metric, option, message):
    settings = settings_of(result("a_16", 0.5, bits=16), result("a_64", 0.5))
    with pytest.raises(BenchError, match=message):
        against_option(settings, metric, option, papers={}, facts=facts)


def test_a_papers_number_stands_at_its_settings_point(result, facts, papers, protocol, make_result):
    settings = settings_of(result("a_16", 0.5, bits=16), result("a_64", 0.5))
    (curve,) = against_option(settings, "recall_at_1", "bits", papers=papers, facts=facts).curves
    assert [(p.x, p.paper) for p in curve.points] == [(16, pytest.approx(68.2)), (64, None)]
    twice = settings_of(result("a_16", 0.4, bits=16), result("b_16", 0.5, bits=16))  # best first
    (curve,) = against_option(twice, "recall_at_1", "bits", papers=papers, facts=facts).curves
    assert [(p.x, p.value.mean, p.paper) for p in curve.points] == [(16, 50, pytest.approx(68.2))]
    part = settings_of(make_result(variant="a_16", protocol=protocol("cub", edition="partial-1")))
    (curve,) = against_option(part, "recall_at_1", "max_steps", papers=papers, facts=facts).curves
    assert curve.points[0].paper is None


def test_a_guest_named_as_a_method_has_no_papers_number(result, facts, papers):
    ours = result("a_16", 0.5, bits=16)
    (guest,) = settings_of(replace(ours, run=replace(ours.run, suite=GUESTS)))
    (curve,) = against_option([guest], "recall_at_1", "bits", papers=papers, facts=facts).curves
    assert [(p.x, p.value.mean, p.paper) for p in curve.points] == [(16, 50, None)]


@pytest.fixture
def logged(store, make_result):
    """Runs with logs; returns their settings."""

    def write(logs, variant="a_16"):
        results = [make_result(variant=variant, seed=seed) for seed in range(len(logs))]
        folder = store(*results)
        files = {folder / "runs" / r.run.suite / r.run.name / "result.json": r for r in results}
        for file, text in zip(files, logs, strict=True):
            log = file.parent / "metrics" / "version_0" / "metrics.csv"
            log.parent.mkdir(parents=True)
            log.write_text("epoch,step,curve/map,train/gap,val/recall_at_1\n" + text)
        return [Setting.of(board.protocol, row) for board in boards(files) for row in board.rows]

    return write


def test_against_epochs_a_point_is_the_mean_over_seeds_where_all_have_one(logged, facts):
    settings = logged(["0,0,0.2,1.5,\n1,1,0.4,2.5,\n2,2,0.9,,\n", "0,0,0.4,2.5,\n1,1,0.6,3.5,\n"])
    chart = against_epoch(settings, "map", papers={}, facts=facts)
    (curve,) = chart.curves
    assert (curve.name.whole, values_of(curve)) == ("a_16", [(0, 30), (1, 50)])
    assert curve.points[0].value.std == pytest.approx(200**0.5)
    assert (chart.metric, chart.y_label, chart.against) == ("curve/map", "mAP (%)", "epoch")


def test_a_logged_column_that_is_no_metric_keeps_its_unit(logged, facts):
    chart = against_epoch(logged(["0,0,,1.5,\n1,1,,2.5,\n"]), "train/gap", papers={}, facts=facts)
    assert (chart.y_label, values_of(chart.curves[0])) == ("train/gap", [(0, 1.5), (1, 2.5)])


def test_a_papers_number_is_a_level_against_epochs(logged, facts, papers):
    chart = against_epoch(logged(["0,0,,,0.5\n"]), "recall_at_1", papers=papers, facts=facts)
    assert chart.metric == "val/recall_at_1"
    assert chart.curves[0].paper == pytest.approx(68.2)


def test_what_was_not_logged_is_left_out_or_an_error(logged, facts):
    settings = logged(["0,0,0.5,,\n"]) + logged(["0,0,,1.0,\n"], variant="b")
    chart = against_epoch(settings, "map", papers={}, facts=facts)
    assert ([c.name.whole for c in chart.curves], chart.left_out) == (
        ["a_16"],
        ("cub/abir-b: it did not log curve/map",),
    )
    with pytest.raises(BenchError, match=r"no run logged loss while it trained \(known: curve/map, train/gap\)"):
        against_epoch(settings, "loss", papers={}, facts=facts)


def test_csv_holds_every_point_as_it_is_drawn(result, facts, papers):
    settings = settings_of(*(result("a_16", v, s, bits=16) for s, v in enumerate((0.4, 0.6))))
    chart = against_option(settings, "recall_at_1", "bits", papers=papers, facts=facts)
    (row,) = csv.DictReader(io.StringIO(chart_csv(chart)))
    assert row == {
        "curve": "a_16", "metric": "recall_at_1", "against": "bits", "x": "16",
        "mean": "50", "std": "14.14213562", "seeds": "2", "paper": "68.2",
    }  # fmt: skip


def test_in_csv_a_level_has_no_x(result, facts):
    settings = settings_of(result("r0", 0.5, rounds=0), result("r1", 0.6, rounds=1), result("shelf", 0.4))
    chart = against_option(settings, "recall_at_1", "rounds", papers={}, facts=facts)
    assert chart_csv(chart).splitlines()[1:] == [
        "abir,recall_at_1,rounds,0,50,,1,",
        "abir,recall_at_1,rounds,1,60,,1,",
        "shelf,recall_at_1,rounds,,40,,1,",
    ]


def test_a_suite_without_results_is_told_from_one_that_is_not_there(store, make_result, suite_file, tmp_path):
    folder = store(make_result())
    (folder / "papers").mkdir()
    assert len(read_chart(["tiny"], metric="recall_at_1", against="max_steps", folder=folder).curves) == 1
    file = suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n", name="new")
    with pytest.raises(BenchError, match=r"suite .*new.yaml has no results in .*`retrieval-bench run .*new.yaml`"):
        read_chart([str(file)], metric="recall_at_1", against="max_steps", folder=folder)
    with pytest.raises(BenchError, match="there is no suite none_such"):
        read_chart(["none_such"], metric="recall_at_1", against="max_steps", folder=folder)
