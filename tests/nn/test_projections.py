"""Published projections: what is read is what was written, whatever the toolbox."""

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import nn

from retrieval_bench.nn.projections import load_projection
from retrieval_bench.nn.weights import WeightsError
from retrieval_bench.retrieval.whitening import PCAWhitening

WEIGHT = np.array([[2.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
BIAS = np.array([1.0, -1.0])


def linear():
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": torch.tensor(WEIGHT), "bias": torch.tensor(BIAS)})
    return layer.state_dict()


def under(prefix):
    return {f"{prefix}{key}": value for key, value in linear().items()}


@pytest.mark.parametrize(
    "content",
    [
        linear(),
        {"state_dict": under("module.fc.")},
        {"meta": {"pooling": "gem"}, "state_dict": {**under("whiten."), "pool.p": torch.ones(1)}},
        {"state_dict": under("pool.whiten.")},
    ],
    ids=["layer", "dir", "descriptor", "regions"],
)
def test_a_layer_is_found_where_each_toolbox_keeps_it(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    weight, bias = load_projection(tmp_path / "w.pth")
    assert weight.tolist() == WEIGHT.tolist()
    assert bias.tolist() == BIAS.tolist()


def test_a_matlab_file_is_read(tmp_path):
    savemat(tmp_path / "w.mat", {"weights": WEIGHT, "bias": BIAS[:, None]})
    weight, bias = load_projection(tmp_path / "w.mat")
    assert weight.tolist() == WEIGHT.tolist()
    assert bias.tolist() == BIAS.tolist()


@pytest.mark.parametrize("wrap", [lambda lw: lw, lambda lw: {"meta": {"Lw": {"sfm": {"ss": lw}}}, "state_dict": {}}])
def test_learned_whitening_subtracts_its_mean_first(tmp_path, wrap):
    torch.save(wrap({"m": np.array([[1.0], [2.0], [4.0]]), "P": WEIGHT}), tmp_path / "lw.pth")
    weight, bias = load_projection(tmp_path / "lw.pth")
    assert weight.tolist() == WEIGHT.tolist()
    assert bias.tolist() == [-2.0, -3.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bn1.weight": torch.ones(3)}, "holds no projection"),
        ([1, 2], "holds no projection"),
        ({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(3)}, r"shape \(2, 3\) and a bias of \(3,\) disagree"),
    ],
)
def test_what_is_none_is_one_error(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"w\.pth.*{message}"):
        load_projection(tmp_path / "w.pth")


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no projection at .*gone\.mat"):
        load_projection(tmp_path / "gone.mat")
    (tmp_path / "w.mat").write_bytes(b"no matrix")
    with pytest.raises(WeightsError, match=r"w\.mat is not a readable MATLAB file"):
        load_projection(tmp_path / "w.mat")


@pytest.mark.data
def test_the_published_whitening_of_rmac_is_a_pca_of_unit_regions(shared):
    weight, bias = load_projection(shared / "weights" / "rmac-vgg16-pca.mat")
    whitening = PCAWhitening(512)
    whitening.set_affine(weight, bias)
    deviation = 1 / weight.norm(dim=1)
    direction = weight * deviation[:, None]
    # Orthogonal up to one factor a row, greatest variance first.
    assert weight.shape == (512, 512)
    assert (direction @ direction.T - torch.eye(512)).abs().max() < 1e-12
    assert (deviation.diff() <= 0).all()
    # The mean of unit vectors without negative values has none either, and is shorter; all variances and it make 1.
    assert whitening.mean.min() > 0
    assert (deviation**2).sum() + whitening.mean.norm() ** 2 == pytest.approx(1, abs=1e-3)
