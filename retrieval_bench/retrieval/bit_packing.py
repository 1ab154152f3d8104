"""Small numbers without gaps: codes of any width up to 15 bits, packed into bytes one after the other."""

import torch
from torch import Tensor

_BITS_AT_ONCE = 2**24


def packed_bytes(numbers: int, bits: int) -> int:
    """How many bytes hold some numbers of a width; the bits left over in the last one are 0."""
    return -(-numbers * bits // 8)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack each row of numbers into bytes.

    Bit b of number m is bit ``m * bits + b`` of the row, and bit j is bit ``j % 8`` of byte ``j // 8``, both counted
    from the least significant.

    Args:
        codes: ``(n, m)`` whole numbers from 0 up to ``2 ** bits - 1``.
        bits: Of each number, 1 to 15.

    Returns:
        ``(n, packed_bytes(m, bits))`` uint8.

    Raises:
        ValueError: If a number does not fit its bits.
    """
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << bits:
        raise ValueError(f"codes of {bits} bits are 0 to {(1 << bits) - 1}, got {int(codes.min())} to {codes.max()}")
    packed = torch.empty((len(codes), packed_bytes(codes.shape[1], bits)), dtype=torch.uint8, device=codes.device)
    step = max(1, _BITS_AT_ONCE // (8 * packed.shape[1]))
    for start in range(0, len(codes), step):
        block = codes[start : start + step].to(torch.int16)
        ones = (block[:, :, None] >> _places(bits, torch.int16, codes.device)) & 1
        row = torch.zeros((len(block), 8 * packed.shape[1]), dtype=torch.uint8, device=codes.device)
        row[:, : codes.shape[1] * bits] = ones.flatten(1)
        weighted = row.view(len(block), -1, 8) << _places(8, torch.uint8, codes.device)
        packed[start : start + step] = weighted.sum(2, dtype=torch.uint8)
    return packed


def unpack(packed: Tensor, bits: int, numbers: int) -> Tensor:
    """Turn bytes from ``pack`` back into numbers.

    Args:
        packed: ``(n, bytes)`` uint8.
        bits: Of each number.
        numbers: How many there are in a row.

    Returns:
        ``(n, numbers)`` uint8 where 8 bits suffice, else int16.

    Raises:
        ValueError: If that many numbers do not take that many bytes.
    """
    if packed.shape[1] != packed_bytes(numbers, bits):
        raise ValueError(
            f"{numbers} codes of {bits} bits take {packed_bytes(numbers, bits)} bytes, not {packed.shape[1]}"
        )
    kind = torch.uint8 if bits <= 8 else torch.int16
    codes = torch.empty((len(packed), numbers), dtype=kind, device=packed.device)
    step = max(1, _BITS_AT_ONCE // (8 * packed.shape[1]))
    for start in range(0, len(packed), step):
        block = packed[start : start + step]
        row = ((block[:, :, None] >> _places(8, torch.uint8, packed.device)) & 1).flatten(1)[:, : numbers * bits]
        weighted = row.reshape(len(block), numbers, bits).to(kind) << _places(bits, kind, packed.device)
        codes[start : start + step] = weighted.sum(2, dtype=kind)
    return codes


def _places(bits: int, kind: torch.dtype, device: torch.device) -> Tensor:
    return torch.arange(bits, dtype=kind, device=device)
