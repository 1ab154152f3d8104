"""Codes: signs, the order of bits, and distances that survive packing."""

import numpy as np
import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.hashing import HashLayer, hamming_distance, pack_bits, sign, unpack_bits
from retrieval_bench.retrieval.descriptors import Descriptors


def numbers(n: int, bits: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, bits, generator=torch.Generator().manual_seed(seed)).tanh()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_signs_are_minus_one_and_one_and_zero_is_one(dtype):
    h = torch.tensor([-0.5, -1e-30, -0.0, 0.0, 1e-30, 1.0], dtype=dtype)
    assert sign(h).tolist() == [-1, -1, 1, 1, 1, 1]
    assert sign(h).dtype == dtype


def test_the_layer_is_tanh_of_a_linear_map():
    layer = HashLayer(5, 16)
    x = numbers(3, 5)
    assert torch.allclose(layer(x), torch.tanh(x @ layer.linear.weight.T + layer.linear.bias))
    assert sum(p.numel() for p in layer.parameters()) == 5 * 16 + 16
    assert layer(1000 * x).abs().max() <= 1


def test_a_layer_without_bits_is_refused():
    with pytest.raises(OptionError, match="bits is 0"):
        HashLayer(512, 0)


def test_bit_j_is_bit_j_mod_8_of_byte_j_div_8():
    h = -torch.ones(3, 16)
    h[0, 0] = h[1, 3] = h[1, 7] = h[2, 8] = h[2, 15] = 1
    assert pack_bits(h).tolist() == [[1, 0], [8 + 128, 0], [0, 1 + 128]]


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 16, 32, 48, 64])
def test_packing_is_numpys_in_little_order_and_is_undone(bits):
    h = numbers(20, bits)
    codes = pack_bits(h)
    assert codes.dtype == torch.uint8
    assert np.array_equal(codes.numpy(), np.packbits((h >= 0).numpy(), axis=1, bitorder="little"))
    assert torch.equal(unpack_bits(codes, bits), sign(h))


def test_a_wrong_number_of_bits_is_refused():
    with pytest.raises(ValueError, match="codes of 17 bits are 3 bytes long, not 2"):
        unpack_bits(pack_bits(numbers(2, 16)), 17)


@pytest.mark.parametrize("bits", [12, 16, 48, 64])
def test_the_product_of_signs_counts_the_differing_bits_of_packed_codes(bits):
    h, g = numbers(9, bits, 1), numbers(11, bits, 2)
    differing = np.unpackbits(pack_bits(h).numpy()[:, None] ^ pack_bits(g).numpy()[None], axis=2).sum(2)
    distance = hamming_distance(sign(h), sign(g))
    assert distance.tolist() == differing.tolist()
    assert hamming_distance(sign(h), sign(h)).diagonal().tolist() == [0] * 9
    assert hamming_distance(sign(h), -sign(h)).diagonal().tolist() == [bits] * 9


def test_packed_codes_are_descriptors():
    codes = Descriptors(pack_bits(numbers(4, 48)), torch.arange(4), "hamming")
    assert codes.data.shape == (4, 6)
