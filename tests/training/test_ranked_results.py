"""The first images of every query are those that were scored."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.localisation import best_boxes
from retrieval_bench.retrieval.postprocessing import RetrievalState
from retrieval_bench.retrieval.postprocessing.base import Windows
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.reranked import rank_reranked
from retrieval_bench.training.ranked import TOP, first_images

CPU = torch.device("cpu")
IMAGES, CLASSES = 60, 6


def protocol(*metrics: str, self_match: str = "exclude") -> Protocol:
    return Protocol(dataset="cub", name="test", metrics=metrics, main_metric=metrics[0], self_match=self_match)


def ranked(searched, truth, way, *, postprocessed=None, dataset=None):
    """``first_images`` of something that was evaluated."""
    method = SimpleNamespace(searched=searched, postprocessed=postprocessed)
    return first_images(method, SimpleNamespace(ground_truth=truth, protocol=way, dataset=dataset), CPU)


def labelled(*, exclude_self: bool = True) -> GroundTruth:
    rows = np.arange(IMAGES)
    # The gallery is in no order, and does not hold all queries.
    return GroundTruth.from_labels(rows % CLASSES, rows[::2].copy(), rows[::-1][5:].copy(), exclude_self=exclude_self)


def described(metric: str) -> tuple[Descriptors, Descriptors]:
    generator = torch.Generator().manual_seed(0)
    image = torch.arange(IMAGES)
    if metric == "hamming":
        codes = torch.randint(256, (IMAGES, 1), dtype=torch.uint8, generator=generator)  # many ties
        return (Descriptors(codes, image, "hamming"),) * 2
    if metric == "adc":
        owner = image.repeat_interleave(3)
        codes = torch.randint(4, (len(owner), 2), dtype=torch.uint8, generator=generator)
        boxes = torch.rand(len(owner), 4, generator=generator)
        tables = torch.rand(IMAGES, 8, generator=generator)
        return Descriptors(tables, image, "adc"), Descriptors(codes, owner, "adc", boxes)
    return (Descriptors(torch.randn(IMAGES, 4, generator=generator), image, metric),) * 2


@pytest.mark.parametrize("metric", ["dot", "euclidean", "hamming", "adc"])
def test_the_first_images_give_the_scores_that_were_measured(metric):
    truth, way = labelled(), protocol("recall_at_1", "recall_at_4", "map_at_r")
    found = ranked(described(metric), truth, way)
    values = evaluate(*described(metric), truth, way).per_query
    assert found.query.tolist() == truth.query.tolist()
    assert found.image.shape == (len(truth.query), TOP)
    np.testing.assert_array_equal(found.relevance[:, 0], values["recall_at_1"])
    np.testing.assert_array_equal(found.relevance[:, :4].any(1), values["recall_at_4"])
    # R is at most 10 here, so MAP@R (Musgrave et al., ECCV 2020) is there to see.
    right = truth.positives.lengths
    for i, row in enumerate(found.relevance):
        seen = row[: right[i]]
        precision = np.cumsum(seen) / np.arange(1, right[i] + 1)
        assert (precision * seen).sum() / right[i] == pytest.approx(values["map_at_r"][i])
    assert (found.image != found.query[:, None]).all()
    assert (np.diff(found.score) <= 0).all()
    assert np.isnan(found.box).all() == (metric != "adc")


def test_relevance_is_what_the_labels_say_where_a_query_may_find_itself():
    truth = labelled(exclude_self=False)
    found = ranked(described("dot"), truth, protocol("recall_at_1", self_match="keep"))
    np.testing.assert_array_equal(found.relevance, found.image % CLASSES == found.query[:, None] % CLASSES)
    assert np.isin(found.query, found.image).any()


def test_a_box_is_that_of_the_nearest_region():
    query, gallery = described("adc")
    truth = labelled()
    found = ranked((query, gallery), truth, protocol("recall_at_1"))
    asking = found.query.repeat(TOP)
    expected = best_boxes(query, gallery, asking, found.image.ravel())
    np.testing.assert_array_equal(found.box.reshape(-1, 4), expected.numpy())


def small() -> tuple[Descriptors, GroundTruth]:
    """Query 0 sees images 1 to 5 in this order, of which 2 is junk, 4 positive, and 5 both."""
    angle = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    vectors = torch.stack([angle.cos(), angle.sin()], 1)
    lists = (RaggedLists.from_lists([x]) for x in ([4, 5], [0, 2, 5]))
    return Descriptors(vectors, torch.arange(6)), GroundTruth(np.array([0]), np.arange(6), *lists)


def test_junk_keeps_its_place_the_query_does_not_and_missing_images_are_marked():
    descriptors, truth = small()
    found = ranked((descriptors, descriptors), truth, protocol("map"))
    assert found.image.tolist() == [[1, 2, 3, 4, 5, -1, -1, -1, -1, -1]]
    assert found.relevance.tolist() == [[0, -1, 0, 1, -1, 0, 0, 0, 0, 0]]
    np.testing.assert_allclose(found.score[0, :5], np.cos([0.1, 0.2, 0.3, 0.4, 0.5]), rtol=1e-6)
    assert np.isnan(found.score[0, 5:]).all()
    kept = ranked((descriptors, descriptors), truth, protocol("map", self_match="keep"))
    assert kept.image[0, :3].tolist() == [0, 1, 2]
    assert kept.relevance[0, :3].tolist() == [-1, 0, -1]


def test_after_re_ranking_its_order_counts_and_localised_queries_have_boxes(tmp_path):
    descriptors, truth = small()
    first = np.array([[4, 2, 5]])
    shares = torch.tensor([[[0, 0, 0.5, 1], [0.25, 0.5, 0.75, 1], [0, 0, 1, 1]]])
    windows = Windows(descriptors.data[:1], torch.zeros(1, 3, 2), shares)
    state = RetrievalState(descriptors.select([0]), descriptors, np.array([0]), first, windows)
    for row in range(6):
        Image.new("RGB", (100 + row, 40)).save(tmp_path / f"{row}.png")
    pictures = SimpleNamespace(image_path=lambda row: tmp_path / f"{row}.png")
    found = ranked(None, truth, protocol("map"), postprocessed=state, dataset=pictures)
    assert found.image.tolist() == [[4, 2, 5, 1, 3, -1, -1, -1, -1, -1]]
    assert found.relevance.tolist() == [[1, -1, -1, 0, 0, 0, 0, 0, 0, 0]]
    assert np.isnan(found.score).all()
    assert found.box[0, :3].tolist() == [[0, 0, 52, 40], [25.5, 20, 76.5, 40], [0, 0, 105, 40]]
    assert np.isnan(found.box[0, 3:]).all()
    # Without junk: image 4 is found first, 1 and 3 after it.
    ranks = rank_reranked(first, state.query, state.gallery, truth)
    assert ranks.ranks[0].tolist() == [0]
