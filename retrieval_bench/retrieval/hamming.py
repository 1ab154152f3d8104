"""Search among packed codes: exact Hamming distances in blocks, and how many images lie at each distance.

Distances take few values, so two histograms a query, of all images and of its positives, hold everything that does not
depend on the order inside a group of equal distances. On the CPU distances are exclusive ors and population counts of
machine words, elsewhere products of signs, which are as exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Pairs, tiles
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.similarity import Comparison

_MOST_DISTANCES = 2**20  # held at once, where a single query does not have more
_ON_DEVICE = 16  # times as many keep a device busy
_WORD_TILE = 2**14  # words that are compared at once: they stay in the cache


@dataclass(frozen=True)
class DistanceCounts:
    """For each query how many images lie at each Hamming distance, junk removed.

    Attributes:
        total: ``(q, bits + 1)`` int64 images at each distance.
        relevant: ``(q, bits + 1)`` int64 positives at each distance.
    """

    total: IntArray
    relevant: IntArray

    @property
    def positives(self) -> IntArray:
        """``(q,)`` how many positives each query has."""
        positives: IntArray = self.relevant.sum(1)
        return positives


@dataclass(frozen=True)
class PlacedPositives:
    """Where the positives of some queries stand in their rankings, by query, then rank.

    Attributes:
        query: ``(positives,)`` the place of each one's query.
        rank: ``(positives,)`` 0-based, equal distances in gallery order.
        distance: ``(positives,)`` from the query.
    """

    query: IntArray
    rank: IntArray
    distance: IntArray


class CodeBlock:
    """Some queries with their distances from the whole gallery.

    Args:
        distances: ``(q, g)`` uint8 or int16 distances.
        positives: The queries' positives; rows count from the block's first query.
        junk: The pairs to ignore.
        bits: The greatest distance there can be.
    """

    def __init__(self, distances: Tensor, positives: Pairs, junk: Pairs, bits: int) -> None:
        self._bins = bits + 2
        self._distances = distances
        self._positives = Pairs(positives.row.to(distances.device), positives.column.to(distances.device))
        # Junk is farther away than anything can be; nobody looks there.
        distances[junk.row.to(distances.device), junk.column.to(distances.device)] = bits + 1

    def counts(self) -> DistanceCounts:
        """The histograms of the block's queries."""
        d, row = self._distances, self._positives.row
        total = self._totals_by_row() if d.device.type == "cpu" else self._totals()
        relevant = self._histogram(row, d[row, self._positives.column])
        return DistanceCounts(total[:, :-1].cpu().numpy(), relevant[:, :-1].cpu().numpy())

    def placed(self) -> PlacedPositives:
        """The positives' ranks, by a stable counting sort of each query's distances."""
        d = self._distances
        relevant = torch.zeros_like(d, dtype=torch.bool)
        relevant[self._positives.row, self._positives.column] = True
        row, rank, column = (_sorted_rows if d.device.type == "cpu" else _sorted_block)(d, relevant)
        distance = d[row, column].long()
        return PlacedPositives(*(x.cpu().numpy() for x in (row, rank, distance)))

    def _totals(self) -> Tensor:
        d = self._distances
        return self._histogram(torch.arange(len(d), device=d.device)[:, None], d)

    def _totals_by_row(self) -> Tensor:
        """``_totals`` on the CPU: it makes no wider numbers than the distances themselves."""
        return torch.stack([torch.bincount(own, minlength=self._bins) for own in self._distances])

    def _histogram(self, row: Tensor, distance: Tensor) -> Tensor:
        key = (row * self._bins + distance.long()).flatten()
        queries = len(self._distances)
        return torch.bincount(key, minlength=queries * self._bins).view(queries, self._bins)


def code_blocks(
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> Iterator[tuple[slice, CodeBlock]]:
    """Compare codes, some queries at a time; memory stays in the order of the codes whatever the number of queries.

    An image with several codes counts with its nearest one. Neither ``block`` nor the device changes a distance.

    Args:
        query: Codes of at least the queries of ``truth``.
        gallery: Codes of at least its gallery.
        truth: Who asks, who is searched, and who should be found.
        block: Queries that are compared at once, at most; fewer where the gallery is large.
        device: Where to compare; by default where the gallery's codes are.

    Yields:
        The range of queries, and their block.

    Raises:
        ValueError: If the sides are not codes of the same length, or the ground truth does not fit the gallery.
        KeyError: If an image has no code.
    """
    comparison = Comparison.of(query, gallery, truth.query, truth.gallery, device)
    if comparison.metric != "hamming":
        raise ValueError(f"packed codes are needed to count by Hamming distance, got {comparison.metric} descriptors")
    pairs, bits = TruthPairs(truth), 8 * gallery.data.shape[1]
    on_cpu = comparison.gallery.data.device.type == "cpu"
    most = _MOST_DISTANCES * (1 if on_cpu else _ON_DEVICE) // max(1, len(comparison.gallery.data))
    at_once = min(block, most) // comparison.query.most_rows
    words = _words(comparison.gallery.data) if on_cpu else None
    for rows in tiles(len(truth.query), max(1, at_once)):
        distances = _by_products(comparison, rows, bits) if words is None else _by_words(comparison, rows, words, bits)
        yield rows, CodeBlock(distances, *pairs.of(rows), bits)


def count_distances(
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> DistanceCounts:
    """The histograms of all queries; arguments and errors are those of ``code_blocks``."""
    bins = 8 * gallery.data.shape[1] + 1
    total, relevant = (np.zeros((len(truth.query), bins), np.int64) for _ in range(2))
    for rows, codes in code_blocks(query, gallery, truth, block=block, device=device):
        counts = codes.counts()
        total[rows], relevant[rows] = counts.total, counts.relevant
    return DistanceCounts(total, relevant)


def _sorted_block(distances: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The row, rank and column of each relevant entry, by row, then rank."""
    order = torch.sort(distances, dim=1, stable=True).indices
    row, rank = relevant.gather(1, order).nonzero(as_tuple=True)
    return row, rank, order[row, rank]


def _sorted_rows(distances: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``_sorted_block`` on the CPU: NumPy, one row at a time, is three times faster."""
    ranks, columns = [], []
    for own, flags in zip(distances.numpy(), relevant.numpy(), strict=True):
        order = np.argsort(own, kind="stable")  # a radix sort, linear for integers of one or two bytes
        ranks.append(np.flatnonzero(flags[order]))
        columns.append(order[ranks[-1]])
    row = np.repeat(np.arange(len(ranks)), [len(rank) for rank in ranks])
    return torch.from_numpy(row), torch.from_numpy(np.concatenate(ranks)), torch.from_numpy(np.concatenate(columns))


def _kind(bits: int) -> torch.dtype:
    """The smallest integer that holds any distance, and one more for junk."""
    return torch.uint8 if bits + 1 < 2**8 else torch.int16


def _words(codes: Tensor) -> npt.NDArray[np.unsignedinteger]:
    """``(words, n)`` packed codes as machine words, zeros filled in at the end."""
    packed = codes.numpy()
    size = next((size for size in (1, 2, 4) if packed.shape[1] <= size), 8)
    padded = np.zeros((len(packed), -(-packed.shape[1] // size) * size), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(padded.view(f"u{size}").T)


def _by_words(comparison: Comparison, rows: slice, words: npt.NDArray[np.unsignedinteger], bits: int) -> Tensor:
    asking, lengths = comparison.query.rows(rows)
    query = _words(asking)
    distances = torch.empty((query.shape[1], words.shape[1]), dtype=_kind(bits))
    differing = np.empty(min(_WORD_TILE, words.shape[1]), words.dtype)
    count = np.empty(len(differing), np.uint8)
    for row, own in zip(distances.numpy(), query.T, strict=True):
        for part in tiles(words.shape[1], _WORD_TILE):
            size = part.stop - part.start
            np.bitwise_xor(words[0, part], own[0], out=differing[:size])
            np.bitwise_count(differing[:size], out=row[part])
            for word, mine in zip(words[1:, part], own[1:], strict=True):
                np.bitwise_xor(word, mine, out=differing[:size])
                np.bitwise_count(differing[:size], out=count[:size])
                row[part] += count[:size]
    return _nearest(_nearest(distances, comparison.gallery.start, 1), _starts(lengths), 0)


def _by_products(comparison: Comparison, rows: slice, bits: int) -> Tensor:
    # Sums of at most 2^15 ones are exact in float32, in any order.
    everything = slice(0, len(comparison.gallery))
    return (-comparison.from_screened(comparison.screened(rows, everything, "float32"))).to(_kind(bits))


def _starts(lengths: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])


def _nearest(distances: Tensor, start: Tensor, axis: int) -> Tensor:
    """The least distance among the rows, or columns, of each image."""
    if len(start) - 1 == distances.shape[axis]:
        return distances
    return torch.from_numpy(np.minimum.reduceat(distances.numpy(), start[:-1].numpy(), axis=axis))
