"""What every fitted method shares: statistics from the reference pictures alone, windows, whitening, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from torch.nn.functional import normalize
from trainers import BARE

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.methods import RMAC, ClusterMAC, GlobalPooling
from retrieval_bench.methods.fitted import FittedMethod
from retrieval_bench.training.checkpoints import load_method

# Maps of a 96 x 64 picture have 6 x 4 cells, or 3 x 2 at stride 32.
TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "max_side": 64}
METHODS = {
    "GlobalPooling": lambda: GlobalPooling("mac", **TRUNK),
    "RMAC": lambda: RMAC(**TRUNK),
    "ClusterMAC": lambda: ClusterMAC(**TRUNK),
}


def fit(name: str, birds: Path, folder: Path, devices: int = 1) -> tuple[FittedMethod, CubDataModule, Trainer]:
    seed_everything(0, verbose=False)
    method = METHODS[name]()
    data = CubDataModule(birds, num_workers=0, eval_batch_size=5)
    trainer = Trainer(
        default_root_dir=folder,
        devices=devices,
        strategy="ddp" if devices == 2 else "auto",
        max_epochs=3,
        **BARE,
    )
    trainer.fit(method, datamodule=data)
    return method, data, trainer


def test_the_whitening_is_that_of_the_training_pictures_regions(birds, tmp_path):
    method, data, _ = fit("RMAC", birds, tmp_path)
    regions = []
    for batch in data.reference_dataloader():
        image = data.prepared(batch, torch.device("cpu"))["image"]
        maps = method.backbone(image)["stride16"].detach()
        regions.append(method.region_vectors(maps, None).vectors.flatten(0, 1))
    vectors = normalize(torch.cat(regions).double(), dim=1).numpy()
    variance, direction = np.linalg.eigh(np.cov(vectors.T, bias=True))
    kept = variance > 1e-9 * variance.max()
    expected = (vectors - vectors.mean(0)) @ direction[:, kept] / np.sqrt(variance[kept])
    found = (torch.from_numpy(vectors) - method.whitening.mean) @ method.whitening.projection.T
    # Directions are found up to their sign and order: what they leave of products is the same.
    assert np.allclose(found.numpy() @ found.numpy().T, expected @ expected.T, atol=1e-3)
    assert method.learned_from == data.reference_name == "the 12 training pictures of cub"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_fitting_changes_statistics_alone(name, birds, tmp_path):
    fresh, (method, _, trainer) = METHODS[name](), fit(name, birds, tmp_path)
    assert trainer.global_step == 0
    assert not fresh.fitted
    assert method.fitted
    assert not method.training
    seed_everything(0, verbose=False)
    before = METHODS[name]().state_dict()
    changed = {key for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.split(".")[0] for key in changed} <= {"whitening", "local_pca"}
    assert {"whitening.mean", "whitening.projection", "whitening.fitted"} <= changed


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_checkpoint_knows_what_was_learned_from_what(name, birds, tmp_path):
    method, data, trainer = fit(name, birds, tmp_path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load_method(tmp_path / "last.ckpt")
    assert loaded.fitted
    assert loaded.learned_from == method.learned_from
    batch = data.prepared(next(iter(data.val_dataloader())), torch.device("cpu"))
    assert torch.equal(loaded.embed(batch).data, method.embed(batch).data)


def statistics(name: str, birds: Path, folder: Path, devices: int) -> dict[str, np.ndarray]:
    method, _, _ = fit(name, birds, folder, devices)
    return {key: value.numpy() for key, value in method.state_dict().items() if not key.startswith("backbone.")}


@pytest.mark.parametrize("name", ["RMAC", "ClusterMAC"])
def test_two_processes_learn_the_statistics_of_one(name, birds, tmp_path, two_processes):
    alone = statistics(name, birds, tmp_path, 1)
    first, second = two_processes(statistics, name, birds, tmp_path, 2)
    for key, value in alone.items():
        assert np.array_equal(first[key], second[key])
        assert np.abs(first[key].astype(np.float64) - value).max() <= 1e-8 * np.abs(value).max()


def test_what_was_not_fitted_is_not_tested_but_may_be_looked_at(birds, tmp_path):
    method, data, trainer = fit("GlobalPooling", birds, tmp_path)
    fresh = METHODS["GlobalPooling"]()
    with pytest.raises(ValueError, match="GlobalPooling has not learned its statistics yet: run benchmark or fit"):
        trainer.test(fresh, datamodule=data)
    trainer.validate(fresh, datamodule=data, verbose=False)
    trainer.test(method, datamodule=data, verbose=False)
    assert fresh.evaluation.metrics != method.evaluation.metrics
    plain = GlobalPooling("mac", **TRUNK, whiten=False)
    assert plain.fitted
    trainer.test(plain, datamodule=data, verbose=False)


def picture(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("window", "cells"),
    [
        ((0, 0, 96, 64), (0, 0, 6, 4)),
        ((-9, -9, torch.inf, torch.inf), (0, 0, 6, 4)),
        ((17, 15, 33, 32), (1, 0, 3, 2)),  # from the cell that holds the first pixel to the one that holds the last
        ((16, 16, 32, 32), (1, 1, 2, 2)),
        ((20, 20, 20, 20), (1, 1, 2, 2)),  # at least one
        ((16, 16, 16, 16), (1, 1, 2, 2)),
        ((96, 64, 99, 99), (5, 3, 6, 4)),
    ],
)
def test_a_window_is_the_cells_it_touches(window, cells):
    method = METHODS["GlobalPooling"]()
    batch = {"image": picture(64, 96), "index": torch.tensor([0]), "window": torch.tensor([window]).float()}
    x1, y1, x2, y2 = cells
    maps = method.maps({"image": batch["image"]})
    assert maps.shape == (1, 256, 4, 6)
    expected = torch.zeros_like(maps)
    expected[..., y1:y2, x1:x2] = maps[..., y1:y2, x1:x2]
    assert torch.equal(method.maps(batch), expected)
    assert torch.equal(method.embed(batch).data, method.describe(maps[..., y1:y2, x1:x2]))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_pictures_of_one_batch_have_windows_of_their_own(name):
    method = METHODS[name]()
    windows = torch.tensor([[0, 0, 96, 64], [17, 15, 64, 64], [0, 0, 96, 64], [17, 15, 64, 64]]).float()
    batch = {"image": picture(64, 96, 4), "index": torch.arange(4)}
    whole, cut = method.embed(batch).data, method.embed({**batch, "window": windows}).data
    assert torch.equal(cut[[0, 2]], whole[[0, 2]])
    assert not torch.allclose(cut[[1, 3]], whole[[1, 3]], atol=1e-3)
    maps = method.maps(batch)
    for i in (1, 3):
        alone = method.describe_windows(maps[i], torch.tensor([[1, 0, 4, 4]]), batch["image"][i])
        torch.testing.assert_close(cut[i], alone[0], atol=1e-6, rtol=0)


def test_a_published_projection_takes_the_place_of_a_learned_whitening(birds, tmp_path):
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(256, 256, generator=generator), torch.randn(256, generator=generator)
    torch.save({"fc.weight": weight, "fc.bias": bias}, tmp_path / "published.pth")
    seed_everything(0, verbose=False)
    method = RMAC(**TRUNK, projection=str(tmp_path / "published.pth"))
    maps = method.maps({"image": picture(64, 96)})
    regions = normalize(method.region_vectors(maps, None).vectors[0], dim=1)
    expected = normalize(normalize(regions @ weight.T + bias, dim=1).sum(0), dim=0)
    torch.testing.assert_close(method.describe(maps)[0], expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="whiten is false"):
        RMAC(**TRUNK, projection=str(tmp_path / "published.pth"), whiten=False)


def test_pictures_are_resized_as_asked():
    recipe = GlobalPooling(backbone="resnet18", weights="none").preprocessing
    assert (recipe.resize.side, recipe.resize.upscale, recipe.crop) == (1024, False, None)
    assert GlobalPooling(backbone="resnet18", weights="none", square=128).preprocessing.resize == (128, 128)
