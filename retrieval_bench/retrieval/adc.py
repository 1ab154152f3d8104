"""Asymmetric distances: a query's tables of distances from codewords, summed over the codewords that codes name.

The distance of a code is the float32 sum of its table entries from the first subspace to the last. Every path adds in
this order, so that it is the same for any block, thread count or device, and equal codes tie exactly.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

_QUERIES_AT_ONCE = 32  # whose entries lie side by side: one look-up serves all of them
_SUMS_AT_ONCE = 2**19  # two megabytes: they stay in the cache
_ON_DEVICE = 2**24  # as many keep a device busy
_FEW = 4  # queries whose entries are looked up alone on the CPU: 32 side by side take as long as about five
_CODES_AT_ONCE = 2**16  # whose places and sums stay in the cache, too


def check_codes(tables: Tensor, codes: Tensor) -> None:
    """Refuse codes that the tables do not have.

    Args:
        tables: ``(q, M * K)`` float32.
        codes: ``(n, M)`` uint8 or int16.

    Raises:
        ValueError: If K is not the same for all subspaces, or a code is not between 0 and K - 1.
    """
    if not tables.is_floating_point() or codes.is_floating_point() or tables.shape[1] % codes.shape[1]:
        raise ValueError(
            "asymmetric distances need tables (float32, M * K columns) as queries and codes (uint8 or int16, M "
            f"columns) as gallery, got {tables.dtype} of {tables.shape[1]} and {codes.dtype} of {codes.shape[1]}"
        )
    codewords = tables.shape[1] // codes.shape[1]
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < codewords:
        raise ValueError(f"codes are 0 to {codewords - 1} here, got {int(codes.min())} to {int(codes.max())}")


def pair_distances(tables: Tensor, query: Tensor, codes: Tensor) -> Tensor:
    """The distance of each code from a query of its own.

    Args:
        tables: ``(q, M * K)`` float32.
        query: ``(n,)`` int64 the query of each code.
        codes: ``(n, M)`` uint8 or int16.

    Returns:
        ``(n,)`` float32.
    """
    codewords = tables.shape[1] // codes.shape[1]
    entries, table = tables.flatten(), query * tables.shape[1]
    distance = tables.new_zeros(len(codes))
    for m in range(codes.shape[1]):
        distance += entries[table + m * codewords + codes[:, m]]
    return distance


@torch.no_grad()
def nearest_distances(tables: Tensor, codes: Tensor, lengths: Tensor) -> Tensor:
    """The distance of each image: the least of those of its codes.

    On the CPU, memory beyond the tables and the result is a few MB a thread whatever the number of codes.

    Args:
        tables: ``(q, M * K)`` float32.
        codes: ``(n, M)`` uint8 or int16, those of one image side by side.
        lengths: ``(images,)`` int64, on the CPU, how many codes each image has, at least 1.

    Returns:
        ``(q, images)`` float32.
    """
    few = len(tables) % _QUERIES_AT_ONCE
    if few > _FEW or codes.device.type != "cpu":
        few = 0
    many = len(tables) - few
    nearest = tables.new_empty((len(tables), len(lengths)))
    if many:
        _fill_many(nearest[:many], tables[:many], codes, lengths)
    if few:
        _fill_few(nearest[many:], tables[many:], codes, lengths)
    return nearest


def _fill_many(nearest: Tensor, tables: Tensor, codes: Tensor, lengths: Tensor) -> None:
    """Each look-up adds up the entries of many queries, which lie side by side; then each image keeps its least."""
    width = _QUERIES_AT_ONCE if len(tables) > 1 else 1
    most = (_SUMS_AT_ONCE if codes.device.type == "cpu" else _ON_DEVICE) // width
    padded = pad(tables, (0, 0, 0, -len(tables) % width)).view(-1, width, tables.shape[1])
    # Not `contiguous`: it would leave one query's strides as they are, and those take look-ups the slow way.
    weights = tables.new_empty((len(padded), tables.shape[1], width)).copy_(padded.transpose(1, 2))
    for images, entries in _blocks(codes, lengths, tables.shape[1] // codes.shape[1], most):
        for own, weight in zip(torch.split(nearest, width), weights, strict=True):
            sums = embedding_bag(entries, weight, mode="sum")
            own[:, images] = sums.view(len(images), -1, width).amin(1).T[: len(own)]


def _blocks(codes: Tensor, lengths: Tensor, codewords: int, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Some images at a time, and for each of their codes ``(M,)`` int32 which rows of the tables are to be summed.

    All images of a block have as many codes: the last one of those that have fewer stands there again.
    """
    if not len(lengths):
        return
    subspaces = codes.shape[1]
    order = lengths.argsort(descending=True, stable=True)  # those with about as many codes go together
    start = lengths.cumsum(0) - lengths
    table = torch.arange(subspaces, dtype=torch.int32, device=codes.device) * codewords
    table = table.repeat(max(most, int(lengths.max())))  # adding what is as long is far faster than adding M numbers
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        images = order[first : first + max(1, most // longest)]
        first += len(images)
        if lengths[images[-1]] == longest and images[-1] - images[0] == len(images) - 1:
            block = codes[start[images[0]] : start[images[-1]] + longest]
        else:
            place = torch.minimum(torch.arange(longest), lengths[images, None] - 1)
            block = codes[(start[images, None] + place).flatten().to(codes.device)]
        entries = block.flatten().to(torch.int32)
        yield images, entries.add_(table[: len(entries)]).view(-1, subspaces)


def _fill_few(nearest: Tensor, tables: Tensor, codes: Tensor, lengths: Tensor) -> None:
    """Each thread looks up the entries of some images, one subspace and one query at a time."""
    threads = max(1, min(torch.get_num_threads(), len(codes) // _CODES_AT_ONCE))
    images = lengths.tensor_split(threads)
    parts = torch.split(codes, [int(own.sum()) for own in images])
    by_subspace = tables.reshape(len(tables), codes.shape[1], -1).numpy()
    arrays = ([part.numpy() for part in some] for some in (nearest.tensor_split(threads, 1), parts, images))
    with ThreadPoolExecutor(threads) as pool:
        run = pool.map if threads > 1 else map
        list(run(_look_up, repeat(by_subspace), *arrays))  # the list makes an error in a thread one here


def _look_up(
    tables: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.float32],
    codes: npt.NDArray[np.integer],
    lengths: npt.NDArray[np.int64],
) -> None:
    """Fill ``(q, images)`` from ``(q, M, K)`` tables; NumPy's look-up of single numbers is the fastest at hand."""
    end = lengths.cumsum()
    start = end - lengths
    size = max(_CODES_AT_ONCE, int(lengths.max(initial=0)))
    place, entry = np.empty(size, np.intp), np.empty(size, tables.dtype)
    sums = np.empty((len(tables), size), tables.dtype)
    first = 0
    while first < len(lengths):
        last = int(np.searchsorted(end, start[first] + size, side="right"))
        block = codes[start[first] : end[last - 1]]
        at, looked_up, total = place[: len(block)], entry[: len(block)], sums[:, : len(block)]
        total[:] = 0
        for m, column in enumerate(block.T):
            at[:] = column
            for own, table in zip(total, tables[:, m], strict=True):
                table.take(at, out=looked_up, mode="wrap")  # no code is too large; to "raise" would cost a copy
                own += looked_up
        np.minimum.reduceat(total, start[first:last] - start[first], axis=1, out=nearest[:, first:last])
        first = last
