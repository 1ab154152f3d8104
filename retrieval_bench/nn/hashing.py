"""From features to binary codes: the layer that learns them, their signs, and eight bits to a byte."""

import torch
from torch import Tensor, nn

from retrieval_bench.errors import OptionError


class HashLayer(nn.Module):
    """tanh of a linear layer: what is learned is near the signs that will be kept (adaptive triplet, section 1).

    Args:
        in_features: Length of a feature.
        bits: Length of a code; the papers have 16, 32, 48 and 64.

    Raises:
        OptionError: If a code would have no bit.
    """

    def __init__(self, in_features: int, bits: int) -> None:
        super().__init__()
        if bits < 1:
            raise OptionError(f"bits is {bits}: a code needs at least one, for instance 16, 32, 48 or 64")
        self.bits = bits
        self.linear = nn.Linear(in_features, bits)

    def forward(self, feature: Tensor) -> Tensor:
        """Features ``(..., in_features)`` as ``(..., bits)`` numbers in [-1, 1]."""
        return torch.tanh(self.linear(feature))


def sign(h: Tensor) -> Tensor:
    """-1 or 1 for every number, of its dtype; 0 counts as 1, so that a code has no third value."""
    return torch.where(h >= 0, 1.0, -1.0).to(h.dtype)


def pack_bits(h: Tensor) -> Tensor:
    """Pack the signs of numbers, eight to a byte.

    Bit j of a code is bit ``j % 8`` of byte ``j // 8``, counted from the least significant (``numpy.packbits`` with
    ``bitorder="little"``, and faiss): 1 where the number is 0 or greater. Bits beyond the last are 0, in every code, so
    they never differ.

    Args:
        h: ``(n, bits)`` numbers of any dtype.

    Returns:
        ``(n, ceil(bits / 8))`` uint8, on the same device.
    """
    n, bits = h.shape
    size = -(-bits // 8)
    places = torch.zeros((n, 8 * size), dtype=torch.uint8, device=h.device)
    places[:, :bits] = h >= 0
    weights = torch.tensor([1 << j for j in range(8)], dtype=torch.uint8, device=h.device)
    return (places.view(n, size, 8) * weights).sum(2, dtype=torch.uint8)


def unpack_bits(codes: Tensor, bits: int) -> Tensor:
    """Turn packed codes back into signs.

    Args:
        codes: ``(n, bytes)`` uint8, from ``pack_bits``.
        bits: How many bits they have.

    Returns:
        ``(n, bits)`` float32 of -1 and 1.

    Raises:
        ValueError: If codes of that many bits are not that many bytes long.
    """
    if codes.shape[1] != -(-bits // 8):
        raise ValueError(f"codes of {bits} bits are {-(-bits // 8)} bytes long, not {codes.shape[1]}")
    ones = (codes[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=codes.device)) & 1
    return ones.flatten(1)[:, :bits].float().mul_(2).sub_(1)


def hamming_distance(a: Tensor, b: Tensor) -> Tensor:
    """Hamming distances between signs: (bits - a . b) / 2.

    Args:
        a: ``(n, bits)`` of -1 and 1.
        b: ``(m, bits)`` of -1 and 1.

    Returns:
        ``(n, m)`` whole numbers, of the dtype of ``a``.
    """
    return (a.shape[1] - a @ b.T) / 2
