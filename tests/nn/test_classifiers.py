"""ImageNet's linear classifiers are the ones torchvision's networks end with."""

from pathlib import Path

import pytest
import torch
from torchvision import models

from retrieval_bench.nn.backbones import Backbone
from retrieval_bench.nn.classifiers import imagenet_classifier
from retrieval_bench.nn.weights import WeightsError


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_trunk_average_and_classifier_are_the_whole_network(name, tmp_path):
    torch.manual_seed(0)
    network = models.get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "all.pth")
    trunk = Backbone(name, ["last"], weights=str(tmp_path / "all.pth")).eval()
    layer = imagenet_classifier(name, trunk.channels("last"), weights=str(tmp_path / "all.pth"), family="torchvision")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(layer(trunk(image)["last"].mean((2, 3))), network(image), atol=1e-5, rtol=1e-4)


def test_weights_without_a_classifier_are_refused(tmp_path: Path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "trunk.pth")
    with pytest.raises(
        WeightsError, match=r"trunk.pth holds no fc.weight of 1000 x 512 with its bias: give resnet18's"
    ):
        imagenet_classifier("resnet18", 512, weights=str(tmp_path / "trunk.pth"), family="torchvision")


def test_a_network_that_ends_otherwise_is_refused():
    with pytest.raises(ValueError, match="vgg16 has no linear classifier behind its last map; resnet18,"):
        imagenet_classifier("vgg16", 512, weights="none", family="torchvision")
