"""Packed codes: the layout of bits by hand, round trips, and sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.retrieval import bit_packing
from retrieval_bench.retrieval.bit_packing import pack, packed_bytes, unpack


def test_nine_bits_by_hand():
    # 511 fills the first byte and one bit of the second, 1 begins at the next.
    codes = torch.tensor([[511, 1], [256, 0]], dtype=torch.int16)
    packed = pack(codes, 9)
    assert packed.tolist() == [[0b11111111, 0b00000011, 0], [0, 0b00000001, 0]]
    assert torch.equal(unpack(packed, 9, 2), codes)


@given(st.integers(1, 15), st.integers(1, 9), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_codes_come_back(bits, numbers, rows, seed):
    codes = torch.from_numpy(np.random.default_rng(seed).integers(0, 2**bits, (rows, numbers)).astype(np.int16))
    packed = pack(codes, bits)
    assert packed.shape == (rows, packed_bytes(numbers, bits))
    back = unpack(packed, bits, numbers)
    assert back.dtype == (torch.uint8 if bits <= 8 else torch.int16)
    assert torch.equal(back.to(torch.int16), codes)


def test_eight_bits_are_the_bytes_themselves():
    codes = torch.arange(256, dtype=torch.uint8).view(32, 8)
    assert torch.equal(pack(codes, 8), codes)


def test_bits_stand_as_numpy_has_them():
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 64, (50, 5)).astype(np.uint8))
    ones = np.unpackbits(codes.numpy(), bitorder="little").reshape(50, 5, 8)[:, :, :6]
    assert np.array_equal(pack(codes, 6).numpy(), np.packbits(ones.reshape(50, 30), axis=1, bitorder="little"))


def test_blocks_change_nothing(monkeypatch):
    codes = torch.randint(0, 512, (1000, 8), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    packed = pack(codes, 9)
    monkeypatch.setattr(bit_packing, "_BITS_AT_ONCE", 700)
    assert torch.equal(pack(codes, 9), packed)
    assert torch.equal(unpack(packed, 9, 8), codes)


def test_the_paper_s_sizes():
    # UDQ: 8 subspaces of 256 codewords take 8 bytes a proposal, of 512 codewords 9.
    assert [packed_bytes(8, bits) for bits in (8, 9)] == [8, 9]
    assert packed_bytes(2, 6) == 2


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="codes of 9 bits are 0 to 511, got 3 to 512"):
        pack(torch.tensor([[512, 3]]), 9)
    with pytest.raises(ValueError, match="got -1 to 5"):
        pack(torch.tensor([[-1, 5]]), 9)
    with pytest.raises(ValueError, match="8 codes of 9 bits take 9 bytes, not 8"):
        unpack(torch.zeros(3, 8, dtype=torch.uint8), 9, 8)
