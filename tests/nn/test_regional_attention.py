"""The weights of regions, by hand and against loops; the authors' file and ours."""

import math
from pathlib import Path

import pytest
import torch

from retrieval_bench.nn.regional_attention import RegionAttention, attended_regions, load_attention
from retrieval_bench.nn.regions import rmac_regions
from retrieval_bench.nn.weights import WeightsError


def maps(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def attention(channels: int = 6, **options) -> RegionAttention:
    torch.manual_seed(0)
    return RegionAttention(channels, hidden=5, **options)


def test_the_papers_attention_has_262273_parameters():
    assert sum(p.numel() for p in RegionAttention(2048).parameters()) == 262_273
    assert sum(p.numel() for p in RegionAttention(2048, sees="region").parameters()) == 131_201


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize("sees", ["both", "region", "context"])
@pytest.mark.parametrize("hidden_act", ["tanh", "softplus"])
def test_weights_are_those_of_a_loop(sees, hidden_act):
    net, x, regions = attention(sees=sees, hidden_act=hidden_act), maps(2, 6, 5, 8), rmac_regions(5, 8, 3)
    found = net(x, regions).detach()
    act = math.tanh if hidden_act == "tanh" else softplus
    w1, b1, w2, b2 = (p.tolist() for p in (net.hidden.weight, net.hidden.bias, net.out.weight[0], net.out.bias))
    for i in range(2):
        context = [float(x[i, c].mean()) for c in range(6)]
        for r, region in enumerate(regions):
            cells = x[i, :, region.y : region.y + region.height, region.x : region.x + region.width]
            mean = [float(cells[c].mean()) for c in range(6)]
            seen = {"both": mean + context, "region": mean, "context": context}[sees]
            hidden = [
                act(sum(a * b for a, b in zip(row, seen, strict=True)) + bias) for row, bias in zip(w1, b1, strict=True)
            ]
            assert float(found[i, r]) == pytest.approx(
                softplus(sum(a * b for a, b in zip(w2, hidden, strict=True)) + b2[0]), abs=1e-5
            )
    assert float(found.min()) > 0


def test_without_a_second_layer_all_regions_weigh_the_same():
    net = attention()
    torch.nn.init.zeros_(net.out.weight)
    for bias, weight in ((0.0, 0.693147), (2.0, 2.126928)):
        torch.nn.init.constant_(net.out.bias, bias)
        found = net(maps(3, 6, 7, 9), rmac_regions(7, 9, 5))
        assert torch.allclose(found, torch.full_like(found, weight), atol=1e-6)


def test_one_that_sees_the_context_alone_tells_no_regions_apart():
    found = attention(sees="context")(maps(3, 6, 7, 9), rmac_regions(7, 9, 5))
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert len(set(found[:, 0].tolist())) == 3


def test_the_order_of_regions_does_not_matter():
    net, x, regions = attention(), maps(2, 6, 7, 9), rmac_regions(7, 9, 4)
    turned = net(x, regions[::-1])
    torch.testing.assert_close(turned.flip(1), net(x, regions), atol=1e-6, rtol=0)


@pytest.mark.parametrize("option", [{"sees": "all"}, {"hidden_act": "relu"}])
def test_what_is_no_value_of_an_option_is_named(option):
    with pytest.raises(
        ValueError, match=f"{next(iter(option))} cannot be '{next(iter(option.values()))}'; it is one of"
    ):
        RegionAttention(4, **option)


def test_a_grid_lies_on_the_picture_or_on_its_map():
    on_picture = attended_regions((768, 1024), (24, 32), 32, 5, "image")
    on_map = attended_regions((768, 1024), (24, 32), 32, 5, "map")
    assert (on_picture[0].width, on_map[0].width) == (25, 24)
    assert len(on_picture) == len(on_map) == 70
    with pytest.raises(ValueError, match="grid_space cannot be 'feature'; it is image or map"):
        attended_regions((768, 1024), (24, 32), 32, 5, "feature")


def published(channels: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"conv_att_1.weight": (5, 2 * channels, 1), "conv_att_1.bias": (5,), "conv_att_2.weight": (1, 5, 1)}
    shapes["conv_att_2.bias"] = (1,)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def test_the_authors_file_is_read(tmp_path):
    state = published(6)
    torch.save(state, tmp_path / "head.pth")
    net = attention()
    assert load_attention(net, tmp_path / "head.pth") == "the file head.pth"
    assert torch.equal(net.hidden.weight, state["conv_att_1.weight"][..., 0])
    assert torch.equal(net.out.weight, state["conv_att_2.weight"][..., 0])
    x, regions = maps(1, 6, 4, 4), rmac_regions(4, 4, 1)
    seen = torch.cat([x.mean((2, 3)), x.mean((2, 3))], 1)[..., None]
    hidden = torch.nn.functional.conv1d(seen, state["conv_att_1.weight"], state["conv_att_1.bias"]).tanh()
    out = torch.nn.functional.conv1d(hidden, state["conv_att_2.weight"], state["conv_att_2.bias"])
    torch.testing.assert_close(net(x, regions), torch.nn.functional.softplus(out)[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"conv_att_1.weight": torch.zeros(5, 9, 1)},
            r"does not fit: it holds hidden.weight \(5, 9\); expected hidden",
        ),
        ({"fc.weight": torch.zeros(2, 2)}, "does not fit: it holds no attention; expected hidden.weight"),
        ([1, 2], "does not fit: it holds no attention"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_it_holds(tmp_path, content, message):
    torch.save(content, tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=f"head.pth {message}"):
        load_attention(attention(), tmp_path / "head.pth")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no attention at .*gone.ckpt; give the checkpoint"):
        load_attention(attention(), tmp_path / "gone.ckpt")


@pytest.mark.data
def test_the_published_attention_fits_maps_of_2048_channels(shared: Path):
    file = shared / "weights" / "regional_attention-resnet101-caffe-head.pth"
    net = RegionAttention(2048)
    before = net.hidden.weight.clone()
    assert load_attention(net, file) == f"the file {file.name}"
    assert not torch.equal(net.hidden.weight, before)
    weights = net(50 * maps(1, 2048, 24, 32).relu(), rmac_regions(24, 32, 5)).detach()
    assert weights.shape == (1, 70)
    assert float(weights.min()) > 0
    assert float(weights.std()) > 0
