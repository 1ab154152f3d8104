"""Files of retrieval toolboxes: fabricated with their keys and shapes, read by key mapping alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from retrieval_bench.nn.backbones import Backbone
from retrieval_bench.nn.weights import WeightsError

RESNET_CHILDREN = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]


@pytest.fixture(scope="module")
def vgg16():
    torch.manual_seed(0)
    return models.vgg16(weights=None, init_weights=False)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return models.resnet50(weights=None)


def without_last(network, count):
    """A network's children but the last ones, in one sequence, as the siaMAC and GeM toolbox keeps them."""
    return nn.Sequential(*list(network.children())[:-count])


def fine_tuned(sequence, **more):
    """What that toolbox's training writes."""
    state = {f"features.{key}": value for key, value in sequence.state_dict().items()}
    meta = {"architecture": "-", "pooling": "gem", "mean": [0.485, 0.456, 0.406], "Lw": {"sfm": {"ss": whitening()}}}
    return {"meta": meta, "state_dict": {**state, **more}}


def whitening():
    return {"m": np.full((512, 1), 0.1), "P": np.eye(512)}


def save(path: Path, content):
    torch.save(content, path)
    return str(path)


def assert_same_trunk(backbone, network):
    expected = network.state_dict()
    loaded = backbone.trunk.state_dict()
    assert loaded
    assert all(torch.equal(value, expected[key]) for key, value in loaded.items())


def test_a_fine_tuned_vgg16_loads(tmp_path, vgg16):
    content = fine_tuned(without_last(vgg16.features, 1), **{"pool.p": torch.ones(1) * 2.8})
    path = save(tmp_path / "siamac.pth", content)
    assert_same_trunk(Backbone("vgg16", ["last", "pool5"], weights=path), vgg16)


@pytest.mark.parametrize("prefix", ["features.", ""])
def test_a_resnet_in_one_sequence_loads(tmp_path, resnet, prefix):
    state = {f"{prefix}{key}": value for key, value in without_last(resnet, 2).state_dict().items()}
    path = save(tmp_path / "gem.pth", state)
    assert_same_trunk(Backbone("resnet50", ["last"], weights=path), resnet)


def test_learned_whitening_behind_the_pooling_is_no_part_of_the_trunk(tmp_path, resnet):
    layers = {"whiten": nn.Linear(8, 8), "pool.whiten": nn.Linear(8, 8), "lwhiten": nn.Linear(8, 8)}
    more = {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}
    path = save(tmp_path / "gem-w.pth", fine_tuned(without_last(resnet, 2), **more))
    assert_same_trunk(Backbone("resnet50", ["last"], weights=path), resnet)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_network_of_deep_image_retrieval_loads(tmp_path, resnet, prefix):
    state = {key: value for key, value in resnet.state_dict().items() if not key.startswith("fc.")}
    more = {"adpool.p": torch.ones(1) * 3, "fc.weight": torch.zeros(2048, 2048), "fc.bias": torch.zeros(2048)}
    content = {"epoch": 3, "state_dict": {f"{prefix}{key}": value for key, value in {**state, **more}.items()}}
    path = save(tmp_path / "dir.pt", content)
    assert_same_trunk(Backbone("resnet50", ["last"], weights=path), resnet)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vgg16", lambda s: s.pop("features.28.bias"), "does not fit vgg16: features.28.bias is missing"),
        ("resnet50", lambda s: s.pop("features.4.0.conv1.weight"), "resnet50: layer1.0.conv1.weight is missing"),
        ("resnet50", lambda s: s.update({"features.9.bias": torch.zeros(1)}), "resnet50: features.9.bias is unknown"),
        (
            "resnet50",
            lambda s: s.update({"features.1.bias": torch.zeros(3)}),
            r"resnet50: bn1.bias has shape \(3,\) instead of \(64,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_as_torchvision_names_it(tmp_path, vgg16, resnet, name, change, message):
    sequence = without_last(vgg16.features, 1) if name == "vgg16" else without_last(resnet, 2)
    content = fine_tuned(sequence)
    change(content["state_dict"])
    path = save(tmp_path / "w.pth", content)
    with pytest.raises(WeightsError, match=rf"w\.pth .*{message}") as caught:
        Backbone(name, ["last"], weights=path)
    assert "\n" not in str(caught.value)


def test_a_resnet_for_a_vgg16_is_one_error(tmp_path, resnet):
    path = save(tmp_path / "w.pth", fine_tuned(without_last(resnet, 2)))
    with pytest.raises(WeightsError, match=r"does not fit vgg16: .* in all\)"):
        Backbone("vgg16", ["last"], weights=path)


class Surprise:
    """Stands for the fitted estimators that some files hold beside the weights."""


def test_other_objects_are_named_and_not_made(tmp_path, resnet):
    path = save(tmp_path / "dir.pt", {"state_dict": resnet.state_dict(), "pca": Surprise()})
    with pytest.raises(
        WeightsError, match=r"dir\.pt holds \S*test_importers\.Surprise .* keep its state_dict alone"
    ) as error:
        Backbone("resnet50", ["last"], weights=path)
    assert "\n" not in str(error.value)
