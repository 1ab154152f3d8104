"""Grid attention and squeeze-and-excitation: values by hand and the identities they rest on."""

import pytest
import torch
from torch.nn import functional as F

from retrieval_bench.nn.attention import GridAttention, SqueezeExcitation


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 6, 8, 10, generator=generator), torch.rand(2, 5, 4, 5, generator=generator)


@pytest.mark.parametrize(("bias", "expected"), [(0.0, 0.5), (3.0, 0.952574)])
def test_without_psi_only_its_bias_speaks(maps, bias, expected):
    attention = GridAttention(6, 5, 16)
    torch.nn.init.zeros_(attention.psi.weight)
    torch.nn.init.constant_(attention.psi.bias, bias)
    alpha = attention(*maps)
    assert alpha.shape == (2, 1, 8, 10)
    assert torch.allclose(alpha, torch.tensor(expected), atol=1e-6)


def test_gate_starts_open():
    assert GridAttention(6, 5).psi.bias.item() == 3.0


def test_sigmoid_weights_lie_between_zero_and_one(maps):
    alpha = GridAttention(6, 5, 16)(*maps)
    assert alpha.min() > 0
    assert alpha.max() < 1


def test_softmax_weights_sum_to_one_over_each_map(maps):
    alpha = GridAttention(6, 5, 16, "softmax")(*maps)
    assert torch.allclose(alpha.sum((1, 2, 3)), torch.ones(2))


def test_convolving_and_upsampling_commute(maps):
    _, gate = maps
    attention = GridAttention(6, 5, 16)
    torch.nn.init.uniform_(attention.gate.bias)
    small_first = F.interpolate(attention.gate(gate), (8, 10), mode="bilinear", align_corners=False)
    large_first = attention.gate(F.interpolate(gate, (8, 10), mode="bilinear", align_corners=False))
    assert (small_first - large_first).abs().max() < 1e-5


def test_attention_equals_the_formula_cell_by_cell(maps):
    x, gate = maps
    attention = GridAttention(6, 5, 16)
    coarse = F.interpolate(gate, (8, 10), mode="bilinear", align_corners=False)
    alpha = attention(x, gate)
    local, wide = attention.local.weight.flatten(1), attention.gate.weight.flatten(1)
    for b, i, j in ((0, 0, 0), (1, 3, 7), (1, 7, 9)):
        inner = F.relu(local @ x[b, :, i, j] + wide @ coarse[b, :, i, j] + attention.gate.bias)
        score = attention.psi.weight.flatten() @ inner + attention.psi.bias
        assert alpha[b, 0, i, j].item() == pytest.approx(torch.sigmoid(score).item(), abs=1e-6)


def test_unknown_norm_is_named():
    with pytest.raises(ValueError, match=r"'tanh'.*sigmoid, softmax"):
        GridAttention(6, 5, norm="tanh")


def test_excitation_with_zero_weights_halves_the_map(maps):
    se = SqueezeExcitation(6, 2)
    for parameter in se.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(se(maps[0]), maps[0] / 2)


def test_a_channels_excitation_scales_only_that_channel(maps):
    se = SqueezeExcitation(6, 2)
    before = se(maps[0])
    u = se.excitation(maps[0])
    with torch.no_grad():
        se.excite.weight[2] = 0
        se.excite.bias[2] = 100.0  # the sigmoid saturates at 1
    after = se(maps[0])
    assert torch.equal(after[:, [0, 1, 3, 4, 5]], before[:, [0, 1, 3, 4, 5]])
    assert torch.allclose(after[:, 2] * u[:, 2, None, None], before[:, 2])


@pytest.mark.parametrize(("channels", "parameters"), [(256, 8_464), (512, 33_312)])
def test_excitation_has_the_parameters_of_the_paper(channels, parameters):
    assert sum(p.numel() for p in SqueezeExcitation(channels).parameters()) == parameters


@pytest.mark.parametrize(("channels", "parameters"), [(256, 394_241), (512, 525_313)])
def test_attention_has_the_parameters_of_the_paper(channels, parameters):
    assert sum(p.numel() for p in GridAttention(channels, 512).parameters()) == parameters
