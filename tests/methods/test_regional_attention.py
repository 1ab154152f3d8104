"""Regional attention against R-MAC and loops: weights, whitening, grids, checkpoints."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from trainers import BARE

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.methods import RMAC, RegionalAttention
from retrieval_bench.nn.regions import max_regions
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.postprocessing import QueryExpansion, RetrievalState
from retrieval_bench.training.checkpoints import load_method

TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride4"}  # 64 channels


def method(**options) -> RegionalAttention:
    torch.manual_seed(0)
    return RegionalAttention(**{**TRUNK, "whiten": False, **options}).eval()


def fitted(**options) -> RegionalAttention:
    """With a whitening of random regions."""
    made = method(whiten=True, **options)
    made.whitening.fit(torch.rand(500, 64, generator=torch.Generator().manual_seed(3)))
    return made


def maps(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_attention_without_its_second_layer_is_rmac():
    ours, plain, x = fitted(), fitted(attend=False), maps(3, 64, 9, 13)
    ours.attention.out.weight *= 100
    assert not torch.allclose(ours.describe(x), plain.describe(x), atol=1e-3)
    torch.nn.init.zeros_(ours.attention.out.weight)
    torch.testing.assert_close(ours.describe(x), plain.describe(x), atol=1e-6, rtol=0)
    # Where nothing is whitened, the order of the steps does not tell our R-MAC from the other one.
    rmac = RMAC(**TRUNK, whiten=False, levels=5)
    torch.testing.assert_close(method(attend=False, grid_space="map").describe(x), rmac.describe(x), atol=1e-6, rtol=0)


@torch.no_grad()
def test_an_attention_that_sees_the_whole_map_alone_is_rmac():
    x = maps(3, 64, 9, 13)
    torch.testing.assert_close(fitted(sees="context").describe(x), fitted(attend=False).describe(x), atol=1e-6, rtol=0)


@torch.no_grad()
def test_only_the_ratio_of_weights_counts_and_their_order_does_not():
    ours, x = fitted(), maps(2, 64, 9, 13)
    regions = ours.grid((9, 13))
    vectors, weights = max_regions(x, regions), ours.weights(x, regions)
    found = ours.weighted(vectors, weights)
    assert torch.equal(found, ours.describe(x))
    torch.testing.assert_close(ours.weighted(vectors, 7.5 * weights), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.weighted(vectors.flip(1), weights.flip(1)), found, atol=1e-6, rtol=0)
    alone = torch.zeros_like(weights)
    alone[:, 4] = 1
    torch.testing.assert_close(ours.weighted(vectors, alone), ours.whitening(vectors[:, 4]), atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_descriptor_is_that_of_a_loop():
    ours, x = fitted(), maps(1, 64, 9, 13)
    regions = ours.grid((9, 13), picture=(35, 50))
    mean, projection = ours.whitening.mean.numpy(), ours.whitening.projection.numpy()
    total = np.zeros(64)
    for region, weight in zip(regions, ours.weights(x, regions)[0].tolist(), strict=True):
        cells = x[0, :, region.y : region.y + region.height, region.x : region.x + region.width]
        white = projection @ (cells.reshape(64, -1).max(1).values.double().numpy() - mean)  # not normalised before
        total += weight * white / np.sqrt((white**2).sum())
    expected = total / np.sqrt((total**2).sum())
    assert np.abs(ours.describe(x, picture=(35, 50))[0].numpy() - expected).max() < 1e-5


def picture(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_grid_is_laid_on_the_picture_itself():
    ours = method(tap="last")
    batch = {"image": picture(80, 112), "index": torch.tensor([0])}
    x = ours.maps(batch)
    assert x.shape[2:] == (3, 4)  # cells of 32 pixels, the last ones half empty
    exact, whole_cells = ours.grid((3, 4), (80, 112)), ours.grid((3, 4))
    assert exact != whole_cells
    assert torch.equal(ours.embed(batch).data, ours.describe(x, picture=(80, 112)).detach())
    # A window is described as the cells that it touches.
    window = torch.tensor([[0.0, 0.0, 64.0, 80.0]])
    part = ours.embed({**batch, "window": window}).data
    assert torch.equal(part, ours.describe(x[..., :2]).detach())
    assert torch.equal(part, ours.describe_windows(x[0], torch.tensor([[0, 0, 2, 3]])).detach())


def test_the_papers_settings_are_the_defaults():
    recipe = RegionalAttention(backbone="resnet18", weights="none").preprocessing
    assert (recipe.resize.side, recipe.resize.upscale, recipe.crop) == (1024, True, None)
    assert len(method(tap="last").grid((24, 32), (768, 1024))) == 70
    assert len(method(levels=6).grid((25, 25))) == 55 + 36


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "0 levels"),
        ({"fit_levels": 0}, "0 levels"),
        ({"grid_space": "cells"}, "grid_space cannot be 'cells'"),
        ({"sees": "all"}, "sees cannot be 'all'"),
    ],
)
def test_what_is_no_value_of_an_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        method(**options)


def fit(birds: Path, folder: Path, **options) -> tuple[RegionalAttention, CubDataModule, Trainer]:
    seed_everything(0, verbose=False)
    made = method(whiten=True, max_side=96, fit_side=64, **options)
    data = CubDataModule(birds, num_workers=0, eval_batch_size=5)
    trainer = Trainer(default_root_dir=folder, max_epochs=1, **BARE)
    trainer.fit(made, datamodule=data)
    return made, data, trainer


def test_the_whitening_is_that_of_three_levels_of_smaller_pictures(birds, tmp_path):
    made, data, trainer = fit(birds, tmp_path)
    regions = []
    for batch in data.reference_dataloader():
        image = data.prepared(batch, torch.device("cpu"))["image"]
        small = (round(64 * image.shape[2] / max(image.shape[2:])), round(64 * image.shape[3] / max(image.shape[2:])))
        image = torch.nn.functional.interpolate(image, small, mode="bilinear", antialias=True)
        x = made.maps({"image": image})
        regions.append(max_regions(x, made.grid(tuple(x.shape[2:]), small, 3)).flatten(0, 1))
    vectors = torch.cat(regions).double()
    white = (vectors - made.whitening.mean) @ made.whitening.projection.T
    kept = white.std(0) > 0
    assert kept.sum() > 32
    covariance = white[:, kept].T @ white[:, kept] / len(white)
    torch.testing.assert_close(covariance, torch.eye(int(kept.sum()), dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(white.mean(0), torch.zeros(64, dtype=torch.float64), atol=1e-6, rtol=0)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load_method(tmp_path / "last.ckpt")
    seen = data.prepared(next(iter(data.val_dataloader())), torch.device("cpu"))
    assert torch.equal(loaded.embed(seen).data, made.embed(seen).data)


def test_long_strips_do_not_teach():
    made = method(whiten=True, fit_side=None)
    for size, regions in (((24, 96), 3), ((23, 96), 0)):
        batch = {"image": picture(*size), "index": torch.tensor([0])}
        found = made._reference_regions(batch, made.maps(batch))
        assert bool(len(found)) == bool(regions)


def test_each_seed_takes_its_own_attention_and_says_where_it_is_from(birds, tmp_path, monkeypatch):
    taught = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        taught.append({f"attention.{k}": torch.randn_like(v) for k, v in method().attention.state_dict().items()})
        content = {"state_dict": taught[seed], "attention_learned_from": f"birds of seed {seed}"}
        torch.save(content, tmp_path / f"s{seed}.ckpt")
    for seed in (0, 1):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        made = method(attention=str(tmp_path / "s{seed}.ckpt"))
        assert torch.equal(made.attention.hidden.weight, taught[seed]["attention.hidden.weight"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    made, _, trainer = fit(birds, tmp_path, attention=str(tmp_path / "s{seed}.ckpt"))
    assert made.learned_from == "the 12 training pictures of cub; attention learned from birds of seed 0"
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    (tmp_path / "s0.ckpt").unlink()
    assert torch.equal(load_method(tmp_path / "last.ckpt").attention.out.weight, made.attention.out.weight)


def test_expansion_by_nobody_or_by_copies_of_the_query_changes_nothing():
    rows = torch.nn.functional.normalize(torch.randn(9, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    rows[:5] = rows[8]
    query, gallery = Descriptors(rows[8:], torch.tensor([8])), Descriptors(rows[:8], torch.arange(8))
    for n in (0, 5):
        state = RetrievalState(query, gallery, np.array([-1]))
        torch.testing.assert_close(
            QueryExpansion(n)(state, SimpleNamespace(device=torch.device("cpu"))).query.data, query.data
        )


@pytest.mark.data
def test_the_published_attention_is_that_of_the_papers_network(shared: Path):
    file = shared / "weights" / "regional_attention-resnet101-caffe-head.pth"
    made = RegionalAttention(str(file), weights="none", weights_family="caffe", whiten=False).eval()
    seen = {"image": 50 * picture(96, 128), "index": torch.tensor([0])}
    with torch.inference_mode():
        x = made.maps(seen)
        weights = made.weights(x, made.grid((x.shape[2], x.shape[3]), (96, 128)))
        assert weights.shape == (1, 70)
        assert bool((weights > 0).all())
        assert made.embed(seen).data.shape == (1, 2048)
