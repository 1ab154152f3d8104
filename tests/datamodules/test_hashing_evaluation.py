"""Under the hashing protocol pictures are trained on and searched: searched they look as in evaluation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_bench.datamodules import CubDataModule, RetrievalDataModule, StanfordDogsDataModule
from retrieval_bench.datamodules.transforms import evaluation_picture
from retrieval_bench.datasets.images import load_image
from retrieval_bench.nn.preprocessing import Preprocessing

RECIPE = Preprocessing(resize=(40, 40), crop=28)


@pytest.fixture(scope="module")
def folder(drawn: Callable[[str], Path]) -> Path:
    (folder,) = {drawn(name).parent for name in ("cub", "stanford_dogs")}
    return folder


@pytest.fixture(params=["cub", "stanford_dogs", "stanford_dogs, cached"])
def data(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> RetrievalDataModule:
    name, _, cached = request.param.partition(",")
    kind = CubDataModule if name == "cub" else StanfordDogsDataModule
    cache = tmp_path if cached else False
    data = kind(folder / name, "hashing", classes_per_batch=4, images_per_class=3, num_workers=0, cache=cache)
    data.preprocessing = RECIPE
    return data


def test_all_pictures_are_evaluated_once_and_half_of_them_are_trained_on(data):
    table = data.table
    assert (table.is_train == table.is_gallery).all()
    assert (table.is_query ^ table.is_gallery).all()
    seen = np.concatenate([batch["index"].numpy() for batch in data.val_dataloader()])
    assert sorted(seen.tolist()) == list(range(len(table)))
    assert data.num_classes == 20


def test_gallery_pictures_have_the_transform_of_evaluation_whoever_trains_on_them(data):
    data.setup()
    looked_at = 0
    for batch in data.val_dataloader():
        for image, row in zip(batch["image"], batch["index"].tolist(), strict=True):
            if data.table.is_gallery[row] and row % 5 == 0:
                expected = evaluation_picture(load_image(data.dataset.image_path(row)), RECIPE)
                assert torch.equal(image, expected)
                looked_at += 1
    assert looked_at > 15


def test_training_pictures_are_augmented(data):
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert data.table.is_train[batch["index"].numpy()].all()
    plain = [evaluation_picture(load_image(data.dataset.image_path(row)), RECIPE) for row in batch["index"].tolist()]
    changed = [not torch.equal(image, centre) for image, centre in zip(batch["image"], plain, strict=True)]
    assert sum(changed) > len(changed) / 2


def test_a_query_may_find_only_pictures_trained_on(data):
    truth, table = data.ground_truth, data.table
    assert table.is_train[truth.gallery].all()
    assert not table.is_train[truth.query].any()
    assert truth.junk.lengths.sum() == 0
    for query, positives in zip(truth.query, truth.positives, strict=True):
        assert positives.tolist() == np.flatnonzero(table.is_train & (table.label == table.label[query])).tolist()
