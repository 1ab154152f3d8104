"""Regions over pictures: the mean weight by hand, the sheet's shape, and the command on a fresh checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.cli import main
from retrieval_bench.methods import RegionalAttention
from retrieval_bench.pictures.regions import WeighedPicture, mean_weight, region_sheet
from retrieval_bench.training.attended import weighed


def test_a_pixel_takes_the_mean_of_the_regions_over_it():
    found = mean_weight((2, 3), [(0, 0, 2, 2), (1, 0, 3, 1)], np.array([1.0, 4.0]))
    assert found.tolist() == [[1, 2.5, 4], [1, 1, 1]]  # the last pixel lies in no region: the least


def test_a_sheet_has_four_pictures_a_row_and_draws_boxes_in_the_colour_of_their_weight():
    grey = np.full((32, 64, 3), 128, np.uint8)
    row = WeighedPicture(grey, [(0, 0, 32, 32), (32, 0, 64, 32)], np.array([0.1, 0.9]))
    sheet = np.asarray(region_sheet([row, row]))
    assert sheet.shape == (2 * 160 + 2 * 30 + 30, 4 * 330 + 10, 3)
    heaviest = sheet[30:190, 670:990]
    assert heaviest[0, 200].tolist() == [252, 255, 164]  # the brightest colour
    assert heaviest[0, 100].sum() < heaviest[0, 200].sum()
    assert np.abs(heaviest[80, 80].astype(int) - 128).max() <= 1  # inside a box the picture is seen


@pytest.mark.parametrize(
    "rows", [[], [WeighedPicture(np.zeros((4, 4, 3), np.uint8), [(0, 0, 4, 4)], np.array([1.0, 2.0]))]]
)
def test_a_sheet_needs_a_picture_and_a_weight_for_each_box(rows):
    with pytest.raises(ValueError, match="at least one picture, and one weight for each"):
        region_sheet(rows)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_regions_lie_in_the_picture_and_weigh_what_the_method_says(picture):
    torch.manual_seed(0)
    method = RegionalAttention(backbone="resnet18", weights="none", max_side=112, fit_side=None).eval()
    (row,) = weighed(method, [picture])
    assert row.picture.shape == (80, 112, 3)
    assert len(row.boxes) == len(row.weights) == 70
    assert min(min(box) for box in row.boxes) == 0
    assert (max(b[2] for b in row.boxes), max(b[3] for b in row.boxes)) == (112, 80)
    assert row.weights.min() > 0
    assert row.weights.std() > 0


def test_the_command_draws_a_checkpoint(tmp_path, picture, capsys):
    torch.manual_seed(0)
    method = RegionalAttention(backbone="resnet18", weights="none", max_side=64, fit_side=None, whiten=False)
    content = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    method.on_save_checkpoint(content)
    torch.save(content, tmp_path / "last.ckpt")
    output = tmp_path / "sheet.png"
    assert main(["attention", "--checkpoint", str(tmp_path / "last.ckpt"), "--output", str(output), str(picture)]) == 0
    assert capsys.readouterr().out == f"wrote {output}\n"
    with Image.open(output) as sheet:
        assert sheet.width == 4 * 330 + 10
