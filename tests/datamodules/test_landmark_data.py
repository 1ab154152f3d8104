"""Landmarks as batches: queries cut or carried with their boxes, one shape a batch, scores of a perfect describer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from retrieval_bench.datamodules import Oxford5kDataModule, RetrievalDataModule
from retrieval_bench.datamodules.oxford_paris import LandmarkDataModule
from retrieval_bench.datasets.errors import DatasetNotFoundError
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.miniature import oxford_paris as writer
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.nn.preprocessing import MaxSide, Preprocessing
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate_images


@pytest.fixture(scope="module")
def oxford(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "STREETS", 4)
        patch.setattr(writer, "DISTRACTORS", 3)
        return synthesize("oxford105k", tmp_path_factory.mktemp("data") / "oxford105k")


@pytest.fixture
def module(oxford: Path) -> Callable[..., LandmarkDataModule]:
    def module(protocol: str, **options: object) -> LandmarkDataModule:
        options = {"num_workers": 0, "eval_batch_size": 16, **options}
        data = Oxford5kDataModule(root=oxford, protocol=protocol, **options)
        data.preprocessing = Preprocessing(MaxSide(96))
        return data

    return module


def by_row(data):
    found = {}
    for batch in data.val_dataloader():
        for row, image, box in zip(batch["index"].tolist(), batch["image"], batch["box"], strict=True):
            assert row not in found
            found[row] = image, box.tolist()
    return found


def test_every_query_and_database_picture_comes_once_in_few_batches(module):
    data = module("crop-x")
    batches = list(data.val_dataloader())
    rows = sorted(row for batch in batches for row in batch["index"].tolist())
    assert rows == list(range(len(data.table)))
    assert len({tuple(batch["image"].shape[2:]) for batch in batches}) == 4
    assert len(batches) < len(rows) / 8
    assert all(max(batch["image"].shape[2:]) == 96 for batch in batches)


def test_cut_queries_are_the_boxes_of_carried_ones(module):
    cut, carried, whole = (by_row(module(protocol)) for protocol in ("crop-i", "crop-x", "full"))
    table = module("full").table
    assert set(table.rows("query").tolist()) == set(range(len(table) - 25, len(table)))
    for row in range(len(table)):
        image, box = carried[row]
        assert torch.equal(image, whole[row][0])
        height, width = image.shape[1:]
        if table.is_gallery[row]:
            assert box == [0, 0, width, height]
            assert torch.equal(image, cut[row][0])
        else:
            x1, y1, x2, y2 = int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3]))
            assert torch.equal(cut[row][0], image[:, y1:y2, x1:x2])
            original = load_image(module("full").dataset.image_path(row))
            scale = 96 / max(original.shape[1:])
            assert box == pytest.approx((table.box[row] * scale).tolist(), abs=0.5)


def test_a_perfect_describer_scores_one_and_junk_does_not_hurt(module):
    data = module("crop-i")
    truth, table = data.ground_truth, data.table
    shown = np.zeros((len(table), len(truth.query)), np.float32)
    for i, (query, found, ignored) in enumerate(zip(truth.query, truth.positives, truth.junk, strict=True)):
        shown[query, i] = shown[found, i] = 1
        shown[ignored, i] = 2  # nearest of all
    vectors = Descriptors(torch.from_numpy(shown), torch.arange(len(table)))
    numbers = evaluate_images(vectors, truth, data.protocol).metrics
    assert set(numbers) == {"map_oxford", "map_oxford_optimistic", "map_oxford_pessimistic"}
    assert set(numbers.values()) == {1.0}


def test_distractors_are_an_option_of_the_command_line(oxford):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(RetrievalDataModule, "data")
    options = [f"--data.root={oxford}", f"--data.distractors={oxford / 'flickr100k'}", "--data.eval_batch_size=4"]
    config = parser.parse_args(["--data=Oxford5kDataModule", *options])
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    data = instantiate(config).data
    assert data.eval_batch_size == 4
    assert len(data.table) == 5 * 14 + 4 + 25 + 3


@pytest.mark.data
def test_five_real_landmarks_make_batches_of_one_shape(shared):
    data = Oxford5kDataModule(root=shared / "sets" / "landmarks_5", num_workers=0, eval_batch_size=8)
    data.preprocessing = Preprocessing(MaxSide(256))
    rows = [row for batch in data.val_dataloader() for row in batch["index"].tolist()]
    assert sorted(rows) == list(range(33))


def test_only_where_activations_are_cropped_a_batch_says_which_part_counts(module):
    for protocol, expected in (("crop-i", False), ("crop-x", True), ("full", False)):
        data = module(protocol)
        for batch in data.val_dataloader():
            prepared = data.prepared(batch, torch.device("cpu"))
            assert ("window" in prepared) == expected
            if expected:
                assert torch.equal(prepared["window"], batch["box"])


def test_statistics_are_learned_from_the_whole_database_of_the_other_city(module):
    data = module("crop-i")
    table = data.reference.table
    seen = sorted(row for batch in data.reference_dataloader() for row in batch["index"].tolist())
    assert data.reference.name == "paris6k"
    assert seen == table.rows("gallery").tolist()
    assert data.reference_name == f"the {len(seen):,} pictures of paris6k"


def test_an_other_city_that_is_missing_is_named_with_its_option(oxford, tmp_path):
    data = Oxford5kDataModule(root=oxford, reference_root=tmp_path / "nowhere", num_workers=0)
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        _ = data.reference
