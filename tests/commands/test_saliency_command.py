"""The saliency command, from pictures to files and back into batches."""

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.cli import main
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.datasets.cub import Cub200
from retrieval_bench.datasets.saliency_boxes import read_boxes
from retrieval_bench.nn.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    """Twelve pictures of noise with a bright square, in the layout of CUB."""
    root = tmp_path_factory.mktemp("saliency") / "cub"
    (root / "images" / "001.Square").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 60, (70, 110, 3), np.uint8)
        top, left = rng.integers(0, 30), rng.integers(0, 70)
        pixels[top : top + 40, left : left + 40] += 190
        Image.fromarray(pixels).save(root / "images" / "001.Square" / f"{i}.jpg")
    for name, line in {
        "images": "{0} 001.Square/{0}.jpg",
        "image_class_labels": "{0} {1}",
        "train_test_split": "{0} 1",
    }.items():
        (root / f"{name}.txt").write_text("".join(line.format(i, 1 + 100 * (i % 2)) + "\n" for i in range(12)))
    (root / "classes.txt").write_text("1 001.Square\n101 101.Square\n")
    return root


@pytest.fixture
def call(cub, tmp_path):
    def run(*words):
        options = ["--network", "squeezenet1_0", "--weights", "none", "--size", "96", "--workers", "0"]
        return main(["saliency", "cub", "--root", str(cub), "--output", str(tmp_path), *options, *map(str, words)])

    return run


def test_boxes_of_a_data_set_crop_its_batches(call, cub, tmp_path, capsys):
    assert call("--alpha", "0.3", "0.5", "--component", "largest") == 0
    files = [tmp_path / f"cub-squeezenet1_0-a{alpha}-largest.jsonl" for alpha in (0.3, 0.5)]
    assert capsys.readouterr().out == "".join(f"the boxes are in {file}\n" for file in files)
    wide, narrow = (read_boxes(file, Cub200(cub)).box for file in files)
    assert np.prod(wide[:, 2:] - wide[:, :2], 1).mean() > np.prod(narrow[:, 2:] - narrow[:, :2], 1).mean()
    data = CubDataModule(cub, num_workers=0)
    data.preprocessing = Preprocessing(resize=(32, 32), boxes=files[1])
    assert next(iter(data.val_dataloader()))["image"].shape[1:] == (3, 32, 32)


def test_a_second_call_says_that_all_is_there(call, tmp_path, capsys):
    assert call() == 0
    capsys.readouterr()
    assert call() == 0
    assert capsys.readouterr().out == f"complete already: {tmp_path / 'cub-squeezenet1_0-a0.4.jsonl'}\n"


def test_a_picture_shows_maps_and_boxes(call, tmp_path):
    sheet = tmp_path / "figures" / "boxes.png"
    assert call("--alpha", "0.2", "0.6", "--picture", sheet) == 0
    with Image.open(sheet) as image:
        assert image.width == 3 * 234 + 10
    assert [f.name for f in sheet.parent.iterdir()] == ["boxes.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--picture", "boxes.jpg"], "--picture must end in .png, not 'boxes.jpg'"),
        (["--network", "vgg7"], "unknown network 'vgg7'"),
        (["--weights", "lost.pth"], "lost.pth"),
        (["--alpha", "40"], "alpha is a share of white from 0 to under 1, not 40.0"),
        (["--batch-size", "0"], "batch of 0 pictures"),
    ],
)
def test_what_is_wrong_is_one_line(call, tmp_path, capsys, words, message):
    assert call(*words) == 1
    error = capsys.readouterr().err
    assert error.startswith("retrieval-bench: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_data_set_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["saliency", "cub", "--root", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
