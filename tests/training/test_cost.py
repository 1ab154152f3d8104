"""What a run asked for: operations against published and independent counts."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from method_cases import CASES
from torch import nn

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.training.cost import gmac_per_image
from retrieval_bench.training.showcase import sample_rows


class Pictures:
    """Four pictures of 224 by 224 pixels without content, in two batches."""

    database_rows = torch.arange(40).numpy()

    def picture_dataloader(self, rows):
        assert rows.tolist() == [0, 10, 20, 30]
        assert self.trainer is None
        return [{"image": torch.empty(2, 3, 224, 224, device="meta")}] * 2

    def prepared(self, batch, device):
        del device
        return batch


@pytest.mark.parametrize(
    ("network", "published"),
    [("resnet101", 7.8), ("vgg16", 15.5), ("mobilenet_v2", 0.3)],
)
def test_operations_of_known_networks_are_the_published_ones(network, published):
    with torch.device("meta"):
        net = getattr(torchvision.models, network)()
    method = SimpleNamespace(
        training=True, eval=net.eval, train=net.train, device=None, preprocessing=None, embed=lambda b: net(b["image"])
    )
    counted = gmac_per_image(method, Pictures())
    assert counted == pytest.approx(published, rel=0.02)
    assert net.training


@pytest.mark.parametrize("name", ["ABIR", "UDQ"])
def test_all_that_describes_a_picture_counts(name, miniature):
    """Against a count of its own: the multiplications of every layer that is called, once for every region."""
    method = CASES[name]().eval()
    data = CubDataModule(miniature, num_workers=0)
    counted = gmac_per_image(method, data)
    products = []

    def convolution(layer, inputs, output):
        products.append(output.numel() * layer.weight[0].numel())

    def linear(layer, inputs, output):
        products.append(output.numel() * layer.in_features)

    for layer in method.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(convolution)
        elif isinstance(layer, nn.Linear):
            layer.register_forward_hook(linear)
    data.preprocessing = method.preprocessing
    rows = sample_rows(data)
    with torch.inference_mode():
        for batch in data.picture_dataloader(rows):
            method.embed(data.prepared(batch, method.device))
    assert counted == pytest.approx(sum(products) / 1e9 / len(rows), rel=1e-9)
