"""Sweeps: what is a curve, what stands beside it as a level, and what a cost follows from."""

from dataclasses import replace

import pytest
from curve_cases import settings_of, values_of

from retrieval_bench.bench.curves import against_option
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.results import Cost


def test_a_setting_without_the_option_is_a_level_beside_the_curve_it_differs_from_least(result, facts):
    results = [
        result(f"{trunk}_rounds{i}", value + i / 10, rounds=i, trunk=trunk)
        for trunk, value in (("vgg", 0.3), ("res", 0.5))
        for i in (0, 1)
    ]
    results.append(result("vgg_shelf", 0.2, trunk="vgg", quantize=False))
    results.append(result("res_shelf_opq", 0.4, trunk="res", rounds=None))
    results.append(result("other_shelf", 0.1, trunk="other"))
    chart = against_option(settings_of(*results), "recall_at_1", "rounds", papers={}, facts=facts)
    assert [curve.name.whole for curve in chart.curves] == ["res", "vgg"]
    assert {level.name.whole: (level.point.value.mean, level.beside) for level in chart.levels} == {
        "res_shelf_opq": (40, "res"),
        "vgg_shelf": (20, "vgg"),
        "other_shelf": (10, None),  # in its trunk it differs from either
    }
    assert (chart.numeric, chart.values, chart.left_out) == (True, [0, 1], ())


def test_a_level_needs_a_curve_of_its_method_and_protocol(result, facts, protocol):
    results = [result("r0", 0.5, rounds=0), result("r1", 0.6, rounds=1)]
    guest = replace(result("shelf", 0.4), run=replace(results[0].run, method="mac", variant=None))
    official = replace(result("shelf", 0.4), protocol=protocol("cub", name="official"))
    chart = against_option(settings_of(*results, guest, official), "recall_at_1", "rounds", papers={}, facts=facts)
    assert chart.levels == ()
    assert set(chart.left_out) == {
        "cub/mac: it has no option model.init_args.rounds",
        "cub/abir-shelf: it has no option model.init_args.rounds",
    }
    (single,) = against_option(
        settings_of(results[0], official), "recall_at_1", "rounds", papers={}, facts=facts
    ).curves
    assert values_of(single) == [(0, 50)]


def test_a_level_that_lacks_a_seed_is_left_out(result, facts):
    results = [result(f"r{i}", 0.5, seed, rounds=i) for i in (0, 1) for seed in (0, 1)] + [result("shelf", 0.4)]
    chart = against_option(settings_of(*results), "recall_at_1", "rounds", papers={}, facts=facts)
    assert chart.levels == ()
    assert chart.left_out == ("cub/abir-shelf: 1 of 2 seeds; missing: 1 (seed 0: R@1 40.0)",)


def test_a_level_without_a_drawn_curve_is_left_out(result, facts):
    swept = [result(f"r{i}", 0.5, i, rounds=i) for i in (0, 1)]  # each lacks the other's seed
    settings = settings_of(*swept, *(result("shelf", 0.4, seed) for seed in (0, 1)))
    with pytest.raises(BenchError, match=r"there is nothing to draw: .*; shelf: no curve stands beside it"):
        against_option(settings, "recall_at_1", "rounds", papers={}, facts=facts)


def test_one_configuration_under_two_names_is_one_level_with_its_papers_number(result, facts, papers):
    results = [result("r0", 0.5, rounds=0), result("r1", 0.6, rounds=1), result("shelf", 0.4), result("a_16", 0.3)]
    (level,) = against_option(settings_of(*results), "recall_at_1", "rounds", papers=papers, facts=facts).levels
    assert (level.name.whole, level.point.value.mean, level.point.paper) == ("abir", 40, pytest.approx(68.2))


def _coded(result, value, subspaces, codewords, **options):
    bits = subspaces * (codewords - 1).bit_length()
    made = result(f"m{subspaces}_k{codewords}", value, subspaces=subspaces, codewords=codewords, **options)
    return replace(made, cost=Cost(bytes_per_image=25 * bits))


def test_against_a_cost_a_curve_is_along_the_option_that_makes_the_fewest_curves(result, facts):
    results = [_coded(result, k / 1000 + m / 100, m, k) for m in (2, 8) for k in (64, 128, 512)]
    results.append(replace(result("plain", 0.9), cost=Cost()))
    chart = against_option(settings_of(*results), "recall_at_1", "bytes_per_image", papers={}, facts=facts)
    assert {curve.name.whole: values_of(curve) for curve in chart.curves} == {
        "m8": [(1200, 14.4), (1400, 20.8), (1800, 59.2)],
        "m2": [(300, 8.4), (350, 14.8), (450, 53.2)],
    }
    assert chart.against == "bytes_per_image"
    assert chart.left_out == ("cub/abir-plain: its bytes_per_image was not measured",)


def test_two_configurations_of_one_cost_are_two_points(result, facts):
    results = [_coded(result, k / 1000, 2, k) for k in (60, 64, 128)]  # 60 codewords take the bits of 64
    (curve,) = against_option(settings_of(*results), "recall_at_1", "bytes_per_image", papers={}, facts=facts).curves
    assert values_of(curve) == [(300, 6.4), (300, 6), (350, 12.8)]  # the better one first


def test_a_cost_that_follows_from_no_single_option_is_a_point_for_each_setting(result, facts):
    results = [_coded(result, 0.5, 2, 64), _coded(result, 0.6, 4, 128)]
    chart = against_option(settings_of(*results), "recall_at_1", "bytes_per_image", papers={}, facts=facts)
    assert {curve.name.whole: values_of(curve) for curve in chart.curves} == {
        "m2_k64": [(300, 50)],
        "m4_k128": [(700, 60)],
    }
    with pytest.raises(BenchError, match="no setting has gmac_per_image of all its seeds: cub/abir-m2_k64"):
        against_option(settings_of(results[0]), "recall_at_1", "gmac_per_image", papers={}, facts=facts)
