import numpy as np
import pytest
import torch

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.datasets.cars196 import Cars196
from retrieval_bench.nn.preprocessing import Preprocessing, normalize


def training_batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def halves(left, right, *, height=20, width=40):
    """A picture whose left half has one colour and whose right half has another."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = left, right
    return pixels


@pytest.fixture
def seven(data):
    return data()


def test_a_training_batch_has_the_agreed_form(seven):
    batches = training_batches(seven)
    assert len(batches) == 4  # 16 // 4
    for batch in batches:
        assert batch.keys() == {"image", "label", "index"}
        assert batch["image"].shape == (4, 3, 12, 12)
        assert batch["image"].dtype == torch.uint8
        assert batch["label"].dtype == batch["index"].dtype == torch.int64
        assert batch["label"].shape == batch["index"].shape == (4,)


def test_training_labels_count_from_zero_and_evaluation_labels_are_the_table_s(seven):
    assert seven.num_classes == 4
    for batch in training_batches(seven):
        original = seven.table.label[batch["index"].numpy()]
        assert torch.equal(batch["label"], torch.from_numpy(original // 10 - 1))
    labels = torch.cat([batch["label"] for batch in seven.val_dataloader()])
    assert labels.tolist() == [50, 50, 50, 50, 60, 60, 60]


def test_evaluation_sees_queries_and_gallery_once_and_no_training_picture(seven):
    index = torch.cat([batch["index"] for batch in seven.test_dataloader()])
    assert index.tolist() == [16, 17, 18, 19, 20, 21, 22]


def test_an_evaluation_picture_has_the_values_worked_out_by_hand(painter):
    # The halves meet at x = 8 of 16, which the crop of 8 cuts in the middle; a flat colour stays itself when resized.
    painter.add(halves((255, 0, 51), (0, 102, 255), height=32, width=48), 0, "qg")
    data = painter.data()
    data.preprocessing = Preprocessing(resize=(16, 16), crop=8, family="torchvision")
    (batch,) = data.val_dataloader()
    assert batch["image"][0, :, 0, 0].tolist() == [255, 0, 51]
    assert batch["image"][0, :, 7, 7].tolist() == [0, 102, 255]
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    left = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert image[0, :, 0, 0].tolist() == pytest.approx(left, abs=1e-5)
    data.preprocessing = Preprocessing(resize=(16, 16), crop=8, family="caffe")
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image[0, :, 0, 0].tolist() == pytest.approx([51 - 103.939, -116.779, 255 - 123.68], abs=1e-3)


def test_boxes_are_in_pixels_of_the_image(painter):
    # 40x20 to 16x16 is 0.4 in x and 0.8 in y; the centre crop of 12 takes 2 off each side.
    painter.add(halves((9, 9, 9), (99, 99, 99)), 0, "qg", (10, 5, 30, 15))
    (batch,) = painter.data().val_dataloader()
    assert batch["box"].dtype == torch.float32
    assert batch["box"].tolist() == [pytest.approx([2, 2, 10, 10])]


def test_a_protocol_may_crop_every_picture_to_its_box(painter):
    painter.add(halves((10, 20, 30), (200, 210, 220)), 0, "qg", (20, 5, 40, 15))
    (cropped,) = painter.data(protocol="boxes").val_dataloader()
    assert torch.equal(
        cropped["image"][0], torch.tensor([200, 210, 220], dtype=torch.uint8)[:, None, None].expand(3, 12, 12)
    )
    assert cropped["box"].tolist() == [[0, 0, 12, 12]]


def test_a_protocol_may_crop_queries_only(painter):
    for roles in ("q", "g"):
        painter.add(halves((10, 20, 30), (200, 210, 220)), 0, roles, (20, 0, 40, 20))
    (batch,) = painter.data(protocol="query-boxes").val_dataloader()
    assert batch["image"][0, 0].unique().tolist() == [200]
    assert batch["image"][1, 0, 0, [0, -1]].tolist() == [10, 200]


def test_a_query_cannot_be_cropped_and_searched_uncropped_at_once(painter):
    painter.add(halves((0, 0, 0), (1, 1, 1)), 0, "qg", (0, 0, 9, 9))
    with pytest.raises(ValueError, match="a row of its own"):
        painter.data(protocol="query-boxes").setup()


def test_cropping_needs_boxes(painter):
    painter.add_noise(0, "qg", 1)
    with pytest.raises(ValueError, match="its table has none"):
        painter.data(protocol="boxes").setup()


def test_training_batches_are_the_same_for_any_number_of_workers(data):
    alone, helped = data(num_workers=0), data(num_workers=2)
    for epoch in (0, 3):
        assert_equal_batches(training_batches(alone, epoch), training_batches(helped, epoch))
    first, second = training_batches(alone, 0), training_batches(alone, 1)
    assert not torch.equal(torch.cat([b["index"] for b in first]), torch.cat([b["index"] for b in second]))


def test_workers_that_stay_alive_draw_new_batches_each_epoch(data):
    loader, reference = data(num_workers=2).train_dataloader(), data()
    assert loader.persistent_workers
    for epoch in range(3):
        loader.batch_sampler.set_epoch(epoch)
        assert_equal_batches(list(loader), training_batches(reference, epoch))


def test_evaluation_batches_are_the_same_for_any_number_of_workers(data):
    assert_equal_batches(list(data().val_dataloader()), list(data(num_workers=2).val_dataloader()))


def test_loading_leaves_the_global_generator_alone(data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(data(num_workers=2).train_dataloader())
    list(data().val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_two_draws_of_one_picture_are_augmented_differently(painter):
    painter.add_noise(0, "t", 1)
    painter.add_noise(1, "t", 1)
    data = painter.data(images_per_class=8)
    (batch,) = data.train_dataloader()
    assert batch["index"].tolist() in ([0] * 8 + [1] * 8, [1] * 8 + [0] * 8)
    assert len({bytes(image.contiguous().numpy()) for image in batch["image"]}) > 8


def test_a_training_picture_is_its_window_of_the_resized_picture(seven):
    from retrieval_bench.datamodules.transforms import random_window, resize_image
    from retrieval_bench.datasets.images import load_image

    loader = seven.train_dataloader()
    draws = [draw for batch in loader.batch_sampler for draw in batch]
    images = torch.cat([batch["image"] for batch in loader])
    for draw, image in zip(draws, images, strict=True):
        whole = resize_image(load_image(seven.dataset.image_path(draw.row)), (16, 16))
        assert torch.equal(random_window(16, 16, seven.preprocessing, draw.seed).cut(whole), image)


def test_pictures_of_different_sizes_are_refused_in_one_training_batch(painter):
    painter.add_noise(0, "t", 1, size=(20, 30))
    painter.add_noise(1, "t", 1, size=(30, 20))
    data = painter.data(images_per_class=1)
    data.preprocessing = Preprocessing(resize=10, crop=None)
    with pytest.raises(ValueError, match=r"2 pictures of 2 sizes"):
        list(data.train_dataloader())


def test_without_a_recipe_the_error_names_the_attribute(data):
    unprepared = data()
    unprepared.preprocessing = None
    with pytest.raises(ValueError, match=r"ColoursDataModule does not know.*no trainer yet.*attribute preprocessing"):
        unprepared.setup()


def test_the_default_root_follows_the_environment(painter, monkeypatch):
    painter.add_noise(0, "qg", 1)
    module = type(painter.data())
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", str(painter.folder.parent))
    assert module().dataset.root == painter.folder


def test_loaders_take_the_cores_there_are_but_no_more_than_eight(data, monkeypatch):
    import os

    for cores, workers in ((2, 2), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert data(num_workers=None).val_dataloader().num_workers == workers


def test_batches_are_pixels_on_the_host_until_they_are_normalized(seven):
    batch = next(iter(seven.val_dataloader()))
    ready = seven.on_after_batch_transfer(batch, 0)
    assert torch.equal(ready["image"], normalize(batch["image"], "torchvision"))
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(ready["index"], batch["index"])


def test_statistics_are_learned_from_the_training_pictures_as_they_are_evaluated(seven):
    data = seven
    seen = sorted(row for batch in data.reference_dataloader() for row in batch["index"].tolist())
    assert seen == data.table.rows("train").tolist()
    assert data.reference_name == f"the {len(seen)} training pictures of colours"


def test_statistics_may_be_learned_from_another_data_set(drawn):
    cub, cars = drawn("cub"), drawn("cars196")
    data = CubDataModule(cub, num_workers=0, reference="cars196")
    data.preprocessing = Preprocessing((32, 32))
    batches = list(data.reference_dataloader())
    assert sum(len(batch["index"]) for batch in batches) == len(Cars196(cars).table.rows("train"))
    assert data.reference_name.endswith("training pictures of cars196")
    assert data.prepared(batches[0], torch.device("cpu"))["image"].dtype == torch.float32
