"""The Inception-ResNet-C block: its size, its identity, and each branch against a plain computation."""

import pytest
import torch
from torch.nn import functional as F

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.inception_resnet import ConvNormReLU, InceptionResNetC


def parameters(block: InceptionResNetC) -> int:
    return sum(p.numel() for p in block.parameters())


def maps(channels: int) -> torch.Tensor:
    """What comes out of a trunk's last ReLU."""
    return torch.randn(2, channels, 5, 7, generator=torch.Generator().manual_seed(0)).relu()


def test_behind_resnet18_it_has_729280_parameters():
    assert parameters(InceptionResNetC(512)) == 729_280


def test_a_quarter_of_the_width_has_48_and_48_56_64_channels():
    block = InceptionResNetC(512, width=0.25)
    widths = [m.out_channels for m in block.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [48, 48, 56, 64, 512]
    # 1x1 twice, 1x3, 3x1, batch norms, 1x1 with a bias
    assert (
        parameters(block) == 2 * 512 * 48 + 3 * 48 * 56 + 3 * 56 * 64 + 2 * (48 + 48 + 56 + 64) + 113 * 512 - 512 + 512
    )


@pytest.mark.parametrize("channels", [1, 24, 1280])
def test_it_fits_behind_any_trunk_and_keeps_the_shape(channels):
    x = maps(channels)
    assert InceptionResNetC(channels, width=0.25)(x).shape == x.shape


def test_with_scale_0_a_map_behind_a_relu_passes_unchanged():
    x = maps(24)
    block = InceptionResNetC(24, scale=0)
    assert torch.equal(block(x), x)
    assert torch.equal(block(-x), torch.zeros_like(x))


def test_the_scale_weighs_what_is_added():
    x, block = maps(24) + 100, InceptionResNetC(24).eval()  # far from the ReLU's border
    added = block(x) - x
    block.scale = 0.4
    assert torch.allclose(block(x) - x, 2 * added, atol=1e-3)
    assert added.abs().max() > 0.1


def test_it_equals_its_formula_step_by_step():
    torch.manual_seed(1)
    block = InceptionResNetC(24, width=0.25).double().eval()
    for m in block.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            for values in (m.running_mean, m.running_var, m.weight, m.bias):
                torch.nn.init.uniform_(values, 0.5, 1.5)

    def unit(part: ConvNormReLU, x: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        conv, norm = part[0], part[1]
        assert conv.bias is None
        y = F.conv2d(x, conv.weight, padding=padding)
        mean, var, gain, shift = (
            v[None, :, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return ((y - mean) / (var + 0.001).sqrt() * gain + shift).relu()

    x = maps(24).double()
    a = unit(block.branch_a, x, (0, 0))
    b = unit(block.branch_b[0], x, (0, 0))
    b = unit(block.branch_b[1], b, (0, 1))
    b = unit(block.branch_b[2], b, (1, 0))
    up = F.conv2d(torch.cat([a, b], 1), block.up.weight, block.up.bias)
    assert torch.allclose(block(x), (x + 0.2 * up).relu())


def test_both_branches_and_the_shortcut_learn():
    x = maps(24).requires_grad_()
    block = InceptionResNetC(24, width=0.25)
    block(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_a_width_that_leaves_nothing_is_refused():
    with pytest.raises(OptionError, match=r"irc_width 0\.001 leaves no channels"):
        InceptionResNetC(512, width=0.001)
