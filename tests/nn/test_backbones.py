"""Backbones: shapes at every tap, key names, both families, and weights that do not fit."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision import models

from retrieval_bench.nn import weights as weights_module
from retrieval_bench.nn.backbones import TAPS, Backbone
from retrieval_bench.nn.weights import WeightsError

STRIDE = {"stride4": 4, "stride8": 8, "stride16": 16}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_every_tap_has_its_channels_and_its_stride(name):
    backbone = Backbone(name, [tap for tap in TAPS[name] if tap != "last_at_16"], weights="none").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96))
    for tap, stride in STRIDE.items():
        assert maps[tap].shape == (1, backbone.channels(tap), 64 // stride, 96 // stride)
        assert maps[tap].min() >= 0
    assert maps["last"].shape == (1, backbone.channels("last"), 2, 3)
    assert {tap: backbone.stride(tap) for tap in maps} == {**STRIDE, "last": 32}


def test_vgg16_ends_at_conv5_3_and_has_the_published_size():
    backbone = Backbone("vgg16", ["stride4", "stride8", "last"], weights="none").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 224, 224))
    assert [tuple(maps[t].shape[1:]) for t in ("stride4", "stride8", "last")] == [
        (256, 56, 56),
        (512, 28, 28),
        (512, 14, 14),
    ]
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688


def test_pool5_is_the_pooled_conv5_3():
    backbone = Backbone("vgg16", ["stride16", "pool5"], weights="none").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 70, 100))
    assert maps["pool5"].shape == (1, 512, 2, 3)
    assert torch.equal(maps["pool5"], torch.nn.functional.max_pool2d(maps["stride16"], 2))
    assert (backbone.stride("stride16"), backbone.stride("pool5"), backbone.channels("pool5")) == (16, 32, 512)


def test_a_tap_that_a_network_has_not_names_those_it_has():
    with pytest.raises(ValueError, match=r"resnet18 has no tap 'pool5'; it has stride4, stride8, stride16, last"):
        Backbone("resnet18", ["pool5"], weights="none")


def test_squeezenet_rounds_its_maps():
    backbone = Backbone("squeezenet1_0", list(TAPS["squeezenet1_0"]), weights="none").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 224, 224))
    assert [maps[t].shape[-1] for t in ("stride4", "stride8", "stride16", "last")] == [54, 27, 13, 13]


@pytest.mark.parametrize(
    ("name", "family"),
    [("resnet18", "torchvision"), ("resnet50", "torchvision"), ("resnet50", "caffe"), ("mobilenet_v2", "torchvision")],
)
def test_at_stride_16_every_second_cell_of_the_last_map_is_that_of_stride_32(name, family):
    torch.manual_seed(0)
    coarse = Backbone(name, ["last"], weights="none", family=family).eval()
    fine = Backbone(name, ["last_at_16"], weights="none", family=family).eval()
    fine.load_state_dict(coarse.state_dict())
    with torch.no_grad():
        image = torch.rand(1, 3, 96, 128)
        expected, maps = coarse(image)["last"], fine(image)["last_at_16"]
    assert maps.shape == (1, coarse.channels("last"), 6, 8)
    assert fine.stride("last_at_16") == 16
    torch.testing.assert_close(maps[:, :, ::2, ::2], expected, atol=1e-4, rtol=1e-4)


def test_where_the_last_map_has_stride_16_it_is_that_map():
    backbone = Backbone("squeezenet1_0", ["last", "last_at_16"], weights="none").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 64))
    assert torch.equal(maps["last"], maps["last_at_16"])


def test_one_map_cannot_have_two_strides():
    with pytest.raises(ValueError, match="last and last_at_16 of resnet18 are one map at two strides"):
        Backbone("resnet18", ["last", "last_at_16"], weights="none")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("vgg16", "features.10.weight"),  # conv3_1
        ("resnet18", "layer2.0.conv1.weight"),
        ("mobilenet_v2", "features.4.conv.0.0.weight"),
        ("squeezenet1_0", "features.7.squeeze.weight"),
    ],
)
def test_training_starts_at_the_third_group_of_convolutions_and_leaves_batch_norms(name, first):
    with torch.device("meta"):
        backbone = Backbone(name, ["last"], weights="none").requires_grad_(False)
    backbone.train_last_groups()
    learned = {key: parameter.requires_grad for key, parameter in backbone.trunk.named_parameters()}
    norms = {key for key, module in backbone.trunk.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    keys = list(learned)
    before, after = keys[: keys.index(first)], keys[keys.index(first) :]
    assert not any(learned[key] for key in before)
    assert all(learned[key] == (key.rpartition(".")[0] not in norms) for key in after)


def test_keys_are_those_of_torchvision():
    network = models.resnet18(weights=None)
    trunk = Backbone("resnet18", ["last"], weights="none").trunk
    assert set(trunk.state_dict()) == {key for key in network.state_dict() if not key.startswith("fc.")}


def test_caffe_resnet_strides_in_the_first_convolution_and_pools_without_padding():
    backbone = Backbone("resnet50", ["last"], weights="none", family="caffe")
    assert backbone.trunk.get_submodule("layer3.0.conv1").stride == (2, 2)
    assert backbone.trunk.get_submodule("layer3.0.conv2").stride == (1, 1)
    pool = backbone.trunk.get_submodule("maxpool")
    assert (pool.padding, pool.ceil_mode) == (0, True)


def test_a_network_without_a_caffe_release_is_refused():
    with pytest.raises(ValueError, match="resnet18 was never released for Caffe"):
        Backbone("resnet18", ["last"], weights="none", family="caffe")


def test_unknown_backbone_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'vgg17'.*vgg16"):
        Backbone("vgg17", ["last"], weights="none")


def test_a_users_checkpoint_loads_with_or_without_its_classifier(tmp_path: Path):
    network = models.resnet18(weights=None)
    state = network.state_dict()
    torch.save(state, tmp_path / "full.pth")
    torch.save({k: v for k, v in state.items() if not k.startswith("fc.")}, tmp_path / "trunk.pth")
    for file in ("full.pth", "trunk.pth"):
        trunk = Backbone("resnet18", ["last"], weights=str(tmp_path / file)).trunk
        assert all(torch.equal(value, state[key]) for key, value in trunk.state_dict().items())


def test_a_trunk_that_ends_early_takes_its_part_of_a_checkpoint(tmp_path: Path):
    state = models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "full.pth")
    trunk = Backbone("resnet18", ["stride8"], weights=str(tmp_path / "full.pth")).trunk.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in trunk.items())
    assert {key.partition(".")[0] for key in trunk} == {"conv1", "bn1", "layer1", "layer2"}


def test_a_checkpoint_from_before_batch_norms_counted_loads(tmp_path: Path):
    state = {k: v for k, v in models.resnet18(weights=None).state_dict().items() if "num_batches_tracked" not in k}
    torch.save(state, tmp_path / "old.pth")
    trunk = Backbone("resnet18", ["last"], weights=str(tmp_path / "old.pth")).trunk
    assert torch.equal(trunk.state_dict()["conv1.weight"], state["conv1.weight"])
    assert trunk.state_dict()["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.weight"), "conv1.weight is missing"),
        (lambda s: s.update({"surprise": torch.zeros(1)}), "surprise is unknown"),
        (lambda s: s.update({"bn1.weight": torch.zeros(3)}), r"bn1.weight has shape \(3,\) instead of \(64,\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change, message):
    state = dict(models.resnet18(weights=None).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"w.pth does not fit resnet18: {message}"):
        Backbone("resnet18", ["last"], weights=str(tmp_path / "w.pth"))


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "w.pth").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match=r"w.pth is not a readable state dict"):
        Backbone("resnet18", ["last"], weights=str(tmp_path / "w.pth"))


def test_without_network_and_file_the_error_names_what_to_fetch_and_where_to_put_it(tmp_path: Path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(WeightsError) as caught:
        Backbone("resnet18", ["last"], weights="imagenet")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in str(caught.value)


def test_a_file_put_there_by_hand_is_checked_against_its_name(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    torch.save(models.resnet18(weights=None).state_dict(), place)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match=f"sha256 starts with {digest[:8]} instead of f37072fd"):
        Backbone("resnet18", ["last"], weights="imagenet")
    monkeypatch.setattr(weights_module, "_sha256", lambda path: "f37072fd" + "0" * 56)
    Backbone("resnet18", ["last"], weights="imagenet")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_real_imagenet_weights_load_strictly(shared: Path, name):
    path = shared / "weights" / f"{name}-imagenet.pth"
    trunk = Backbone(name, ["last"], weights=str(path)).trunk
    published = torch.load(path, weights_only=True)
    assert all(torch.equal(value, published[key]) for key, value in trunk.state_dict().items())
