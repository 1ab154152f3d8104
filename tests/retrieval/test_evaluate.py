import numpy as np
import pytest
import torch

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate, evaluate_images
from retrieval_bench.retrieval.ground_truth import GroundTruth
from retrieval_bench.retrieval.protocol import Protocol


def protocol(*metrics, ties="index"):
    return Protocol(dataset="made", name="up", metrics=metrics, ties=ties)


@pytest.fixture(scope="module")
def clustered():
    generator = torch.Generator().manual_seed(1)
    label = torch.arange(201) % 23
    x = torch.nn.functional.normalize(
        torch.randn(23, 32, generator=generator)[label] + 1.2 * torch.randn(201, 32, generator=generator)
    )
    truth = GroundTruth.from_labels(label.numpy(), np.arange(201), np.arange(201), exclude_self=True)
    return Descriptors(x, torch.arange(201)), label, truth


def test_recall_of_a_perfect_embedding_is_one():
    d = Descriptors(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]), torch.arange(4))
    truth = GroundTruth.from_labels([0, 0, 1, 1], np.arange(4), np.arange(4), exclude_self=True)
    assert evaluate_images(d, truth, protocol("recall_at_1")).metrics == {"recall_at_1": 1.0}


def test_a_mate_at_rank_three_is_found_at_four_only():
    # The query's neighbours by score: three strangers, then its mate.
    gallery = Descriptors(torch.tensor([[0.9], [0.8], [0.7], [0.6], [0.1]]), torch.arange(1, 6))
    query = Descriptors(torch.tensor([[1.0]]), torch.tensor([0]))
    truth = GroundTruth.from_labels([0, 1, 1, 1, 0, 2], [0], np.arange(1, 6), exclude_self=False)
    result = evaluate(query, gallery, truth, protocol("recall_at_1", "recall_at_2", "recall_at_4"))
    assert list(result.metrics.values()) == [0, 0, 1]


def test_the_metrics_agree_with_pytorch_metric_learning(clustered):
    accuracy_calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    d, label, truth = clustered
    calculator = accuracy_calculator.AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision"), k=None
    )
    theirs = calculator.get_accuracy(d.data, label)
    ours = evaluate_images(d, truth, protocol("recall_at_1", "r_precision", "map_at_r", "map")).metrics
    assert ours["recall_at_1"] == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours["r_precision"] == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert ours["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert ours["map"] == pytest.approx(theirs["mean_average_precision"], abs=1e-6)
    assert 0.2 < ours["map_at_r"] < 0.9


def test_recall_alone_and_beside_other_metrics_is_the_same(clustered):
    d, _, truth = clustered
    keys = ("recall_at_1", "recall_at_4", "recall_at_16")
    alone, beside = (evaluate_images(d, truth, protocol(*keys, *more)) for more in ((), ("map", "map_oxford")))
    for key in keys:
        np.testing.assert_array_equal(alone.per_query[key], beside.per_query[key])
        assert alone.metrics[key] == beside.metrics[key]
    assert list(beside.metrics) == [*keys, "map", "map_oxford"]


def test_two_overlapping_shards_give_what_one_process_gives(clustered):
    d, _, truth = clustered
    # 201 images over two processes: the sampler of one of them had to repeat an image.
    even, odd = d.select(np.arange(0, 201, 2)), d.select(np.append(np.arange(1, 201, 2), 0))
    merged = Descriptors.merge([odd, even])
    wanted = protocol("recall_at_1", "map", "r_precision")
    one, two = evaluate_images(d, truth, wanted), evaluate_images(merged, truth, wanted)
    assert one.metrics == two.metrics
    for key in one.metrics:
        np.testing.assert_array_equal(one.per_query[key], two.per_query[key])


def test_queries_without_a_positive_are_counted_and_left_out():
    d = Descriptors(torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1]]), torch.arange(3))
    truth = GroundTruth.from_labels([0, 0, 1], np.arange(3), np.arange(3), exclude_self=True)
    for more in ((), ("map",)):
        result = evaluate_images(d, truth, protocol("recall_at_1", *more))
        assert result.metrics["recall_at_1"] == 1.0
        assert result.queries_without_positive == 1
        assert np.isnan(result.per_query["recall_at_1"]).tolist() == [False, False, True]
        assert result.seconds_per_query > 0


@pytest.mark.parametrize("metrics", [("recall_at_1",), ("map",)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_descriptors_that_are_not_finite_give_one_error(clustered, metrics, bad):
    d, _, truth = clustered
    data = d.data.clone()
    data[[40, 17, 90], 5] = bad
    with pytest.raises(ValueError, match=r"3 of 201 images have a descriptor .* the first is image 17") as error:
        evaluate_images(Descriptors(data, d.image), truth, protocol(*metrics))
    assert "\n" not in str(error.value)


def test_a_missing_image_is_named(clustered):
    d, _, truth = clustered
    with pytest.raises(KeyError, match="2 images have no descriptor, the first is image 7"):
        evaluate_images(d.select([i for i in range(201) if i not in {7, 9}]), truth, protocol("map"))


def test_sides_of_different_kinds_are_not_compared(clustered):
    d, _, truth = clustered
    other = Descriptors(d.data[:, :16].contiguous(), d.image)
    with pytest.raises(ValueError, match=r"queries \(dot, 32 columns\) and gallery \(dot, 16 columns\)"):
        evaluate(d, other, truth, protocol("map"))


def test_a_protocol_without_metrics_is_an_error(clustered):
    d, _, truth = clustered
    with pytest.raises(ValueError, match="protocol up of made names no metrics"):
        evaluate_images(d, truth, protocol())


def test_ties_expected_is_used_for_codes_and_lies_between_the_extremes():
    rng = np.random.default_rng(0)
    d = Descriptors(torch.from_numpy(rng.integers(0, 256, (60, 1), dtype=np.uint8)), torch.arange(60), "hamming")
    truth = GroundTruth.from_labels(rng.integers(0, 4, 60), np.arange(20), np.arange(20, 60), exclude_self=False)
    keys = ("map_pessimistic", "map", "map_optimistic")
    low, expected, high = evaluate_images(d, truth, protocol(*keys, ties="expected")).metrics.values()
    index = evaluate_images(d, truth, protocol("map")).metrics["map"]
    assert low < expected < high
    assert low < index < high
    assert index != expected
