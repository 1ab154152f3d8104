"""One pass over a data set's pictures: the same files however it is cut up or cut short."""

import json
import multiprocessing
import signal
import warnings

import numpy as np
import pytest

from retrieval_bench.datamodules import saliency
from retrieval_bench.datamodules.saliency import SaliencySettings, make_boxes, saliences
from retrieval_bench.datasets.errors import DataError, UnreadableImageError
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.saliency import SaliencyNetwork

SIDE = 96
SETTINGS = SaliencySettings(alphas=(0.3, 0.6), side=SIDE)


@pytest.fixture(scope="module")
def network():
    return SaliencyNetwork("squeezenet1_0", "none")


@pytest.fixture
def pictures(painter):
    """Eleven pictures of different sizes, each with a bright square somewhere."""
    rng = np.random.default_rng(0)
    for i in range(11):
        height, width = 60 + 5 * i, 110 - 4 * i
        pixels = rng.integers(0, 60, (height, width, 3), np.uint8)
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
        pixels[top : top + 40, left : left + 40] += 190
        painter.add(pixels, i, "tqg")
    return painter.data().dataset


def contents(files):
    return [file.read_bytes() for file in files]


@pytest.fixture
def whole(network, pictures, tmp_path):
    return contents(make_boxes(network, pictures, tmp_path / "whole", SETTINGS, batch_size=4))


def test_there_is_a_line_for_every_picture_in_table_order(network, pictures, tmp_path):
    files = make_boxes(network, pictures, tmp_path, SETTINGS)
    assert [f.name for f in files] == ["colours-squeezenet1_0-a0.3.jsonl", "colours-squeezenet1_0-a0.6.jsonl"]
    for file, alpha in zip(files, (0.3, 0.6), strict=True):
        header, *lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert header["alpha"] == alpha
        assert (
            header.items()
            >= {
                "network": "squeezenet1_0",
                "weights": "none",
                "layer": "features.12",
                "side": SIDE,
                "pictures": 11,
            }.items()
        )
        assert [line["path"] for line in lines] == list(pictures.table.path)
        assert [line["size"] for line in lines] == [[110 - 4 * i, 60 + 5 * i] for i in range(11)]
        for line in lines:
            (x1, y1, x2, y2), (width, height) = line["box"], line["size"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    assert len({json.dumps(line["box"]) for line in lines}) > 5


def test_the_boxes_are_those_of_each_picture_alone(network, pictures, tmp_path):
    (file,) = make_boxes(network, pictures, tmp_path, SaliencySettings(alphas=(0.5,), component="largest", side=SIDE))
    assert file.name == "colours-squeezenet1_0-a0.5-largest.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    for path, line in zip(pictures.table.path, lines, strict=True):
        ((alone,),) = saliences(network, pictures.root, [path], SETTINGS)
        assert list(alone.box(0.5, "largest").box) == line["box"]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (64, 1)])
def test_boxes_are_the_same_for_any_batch_size_and_number_of_workers(
    network, pictures, tmp_path, whole, batch_size, workers
):
    files = make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=batch_size, num_workers=workers)
    assert contents(files) == whole


def test_two_alphas_in_one_pass_are_two_passes(network, pictures, tmp_path, whole):
    alone = [
        make_boxes(network, pictures, tmp_path, SaliencySettings(alphas=(alpha,), side=SIDE))[0] for alpha in (0.3, 0.6)
    ]
    assert contents(alone) == whole


def test_an_interrupted_pass_is_gone_on_with_to_the_same_bytes(network, pictures, tmp_path, whole):
    def interrupt(done, total):
        assert total == 11
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=4, progress=interrupt)
    parts = sorted(tmp_path.glob("*-squeezenet*"))
    assert [p.suffix for p in parts] == [".part", ".part"]
    assert [len(p.read_text().splitlines()) for p in parts] == [9, 9]
    # Killed while writing: one file lost a line and a half, the other is whole.
    parts[0].write_bytes(parts[0].read_bytes()[:-130])
    told = []
    files = make_boxes(
        network, pictures, tmp_path, SETTINGS, batch_size=4, progress=lambda done, total: told.append(done)
    )
    assert contents(files) == whole
    assert told == [8, 11]


def test_a_killed_pass_is_gone_on_with_to_the_same_bytes(network, pictures, tmp_path, whole):
    def work():
        def tell(done, total):
            sender.send(done)
            while done == 4:
                signal.pause()

        make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=2, num_workers=1, progress=tell)

    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads hold no lock here
        process.start()
    try:
        assert receiver.poll(60)
        assert [receiver.recv(), receiver.recv()] == [2, 4]
        with pytest.raises(DataError, match="another process is writing"):
            make_boxes(network, pictures, tmp_path, SETTINGS)
    finally:
        process.kill()
        process.join()
    # Its loader's worker is still alive, and must hold nothing back.
    told = []
    files = make_boxes(
        network, pictures, tmp_path, SETTINGS, batch_size=4, progress=lambda done, total: told.append(done)
    )
    assert contents(files) == whole
    assert told == [8, 11]


def test_what_is_complete_is_not_looked_at_again(network, pictures, tmp_path, monkeypatch):
    make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=4)

    def refuse(path):
        raise AssertionError(f"{path} was decoded again")

    monkeypatch.setattr(saliency, "load_image", refuse)
    told = []
    files = make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=4, progress=lambda *done: told.append(done))
    assert [f.is_file() for f in files] == [True, True]
    assert told == []


def test_a_pass_killed_before_its_last_step_needs_only_that(network, pictures, tmp_path, whole):
    files = make_boxes(network, pictures, tmp_path, SETTINGS)
    files[1].rename(f"{files[1]}.part")
    told = []
    again = make_boxes(network, pictures, tmp_path, SETTINGS, progress=lambda *done: told.append(done))
    assert contents(again) == whole
    assert told == []
    assert len(list(tmp_path.glob("colours-*"))) == 2


def test_a_further_alpha_leaves_the_files_that_are_there_alone(network, pictures, tmp_path):
    make_boxes(network, pictures, tmp_path, SETTINGS)
    times = {f.name: f.stat().st_mtime_ns for f in tmp_path.glob("*.jsonl")}
    make_boxes(network, pictures, tmp_path, SaliencySettings(alphas=(0.3, 0.4, 0.6), side=SIDE))
    after = {f.name: f.stat().st_mtime_ns for f in tmp_path.glob("*.jsonl")}
    assert len(after) == 3
    assert times.items() <= after.items()


def test_other_pictures_or_another_network_are_never_mixed(network, pictures, tmp_path):
    make_boxes(network, pictures, tmp_path, SETTINGS)
    with pytest.raises(DataError, match="made with merge 'mean' instead of 'max'"):
        make_boxes(network, pictures, tmp_path, SaliencySettings(alphas=(0.3,), merge="max", side=SIDE))
    with (pictures.root / "3.png").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="made with data_fingerprint"):
        make_boxes(network, pictures, tmp_path, SETTINGS)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_one_line_that_names_it(network, pictures, tmp_path, workers):
    (pictures.root / "6.png").write_bytes(b"not a picture")
    with pytest.raises(UnreadableImageError, match=r"6\.png") as caught:
        make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=2, num_workers=workers)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("options", [{"alphas": (0.4, 1.0)}, {"alphas": (-0.1,)}, {"side": 32}])
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(OptionError):
        SaliencySettings(**options)


def test_batches_of_nothing_are_refused(network, pictures, tmp_path):
    with pytest.raises(OptionError, match="batch of 0"):
        make_boxes(network, pictures, tmp_path, SETTINGS, batch_size=0)
