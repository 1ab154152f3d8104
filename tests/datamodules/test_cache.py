import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch

from retrieval_bench.datamodules import images as images_module
from retrieval_bench.datamodules.cache import CachedPictures
from retrieval_bench.datasets.errors import DataError, UnreadableImageError
from retrieval_bench.nn.preprocessing import Preprocessing


def all_batches(data):
    return [*data.train_dataloader(), *data.val_dataloader()]


def cache_files(folder):
    return sorted(folder.glob("*.rgb"))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_equal_with_and_without_a_cache(data, tmp_path, workers):
    plain = all_batches(data())
    for _ in ("built", "read back"):
        cached = all_batches(data(cache=tmp_path / "cache", num_workers=workers))
        for a, b in zip(plain, cached, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a)


def test_boxes_and_crops_come_out_of_the_cache_as_they_went_in(painter, tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(3):
        painter.add(rng.integers(0, 256, (20, 40, 3), np.uint8), 0, "qg", (10, 5, 30.5, 15))
    for protocol in ("whole", "boxes"):
        (plain, *_), (cached, *_) = (
            list(painter.data(protocol=protocol, cache=c).val_dataloader()) for c in (False, tmp_path / "cache")
        )
        assert all(torch.equal(plain[key], cached[key]) for key in ("image", "box", "index"))
    assert len(cache_files(tmp_path / "cache")) == 2  # the protocols see different pixels


def test_a_later_run_decodes_nothing(data, tmp_path, monkeypatch):
    expected = all_batches(data(cache=str(tmp_path / "cache")))

    def refuse(path):
        raise AssertionError(f"{path} was decoded again")

    monkeypatch.setattr(images_module, "load_image", refuse)
    again = all_batches(data(cache=str(tmp_path / "cache")))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(expected, again, strict=True))


def test_the_file_holds_pixels_and_boxes_and_nothing_more(data, tmp_path):
    data(cache=tmp_path).setup()
    (file,) = cache_files(tmp_path)
    assert file.stat().st_size == 23 * (16 * 16 * 3 + 16)


def test_true_keeps_the_cache_beside_the_pictures(data, painter):
    data(cache=True).setup()
    assert len(cache_files(painter.folder / ".cache")) == 1


def test_another_size_or_a_replaced_picture_makes_another_cache(data, painter, tmp_path):
    data(cache=tmp_path).setup()
    larger = data(cache=tmp_path)
    larger.preprocessing = Preprocessing(resize=(18, 16), crop=12)
    larger.setup()
    assert len(cache_files(tmp_path)) == 2
    shutil.copy(painter.folder / "1.png", painter.folder / "0.png")
    with (painter.folder / "0.png").open("ab") as file:
        file.write(b"x")  # a picture of another length
    data(cache=tmp_path).setup()
    assert len(cache_files(tmp_path)) == 3


def test_a_file_cut_short_is_built_anew(data, tmp_path):
    data(cache=tmp_path).setup()
    (file,) = cache_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    data(cache=tmp_path).setup()
    assert file.read_bytes() == whole


def test_a_failed_build_leaves_no_file_and_names_the_picture(data, painter, tmp_path):
    (painter.folder / "7.png").write_bytes(b"not a picture")
    ready = data(cache=tmp_path)
    with pytest.raises(UnreadableImageError, match=r"7\.png"):
        ready.setup()
    assert [p.suffix for p in tmp_path.glob("colours-*")] == [".lock"]


def test_two_processes_share_one_build(data, tmp_path, two_processes):
    def build(folder):
        decoded = 0
        original = images_module.load_image

        def count(path):
            nonlocal decoded
            decoded += 1
            return original(path)

        images_module.load_image = count
        ready = data(cache=folder)
        torch.distributed.barrier()
        ready.setup()
        return decoded, [batch["image"].sum().item() for batch in ready.val_dataloader()]

    (first, sums), (second, other_sums) = two_processes(build, tmp_path / "cache")
    assert sorted([first, second]) == [0, 23]
    assert sums == other_sums
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the pictures and the lock


def test_pictures_of_different_sizes_cannot_be_cached(data, tmp_path):
    ready = data(cache=tmp_path)
    ready.preprocessing = Preprocessing(resize=16)
    with pytest.raises(ValueError, match=r"resized to 16 .*--data\.cache"):
        ready.setup()


def test_a_full_disk_is_noticed_before_decoding(data, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(DataError, match=r"needs 0\.0 GB.*--data\.cache FOLDER"):
        data(cache=tmp_path).setup()


def test_a_folder_that_cannot_be_written_is_named(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written to .*file.*--data\.cache FOLDER"):
        data(cache=tmp_path / "file").setup()


def test_workers_do_not_carry_the_file_with_them(data, tmp_path):
    import pickle

    ready = data(cache=tmp_path)
    ready.setup()
    pictures = ready._pictures
    assert isinstance(pictures, CachedPictures)
    picture = pictures[3]
    copy = pickle.loads(pickle.dumps(pictures))
    assert torch.equal(copy[3].pixels, picture.pixels)
    assert "_pixels" not in pictures.__getstate__()
