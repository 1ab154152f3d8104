"""The ranks of positives where something other than descriptors has put the first images of each query in order."""

import numpy as np
import torch

from retrieval_bench.retrieval.counting import Pairs
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.retrieval.pairs import TruthPairs
from retrieval_bench.retrieval.ranks import RelevantRanks, rank_relevant


def rank_reranked(
    first: IntArray,
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> RelevantRanks:
    """Find the ranks of all positives: first the images that were put in order, behind them the others as they compare.

    Args:
        first: ``(q, k)`` places in the gallery of each query's first images, nearest first; -1 behind the last of them.
            No two of them tie.
        query: As for ``rank_relevant``.
        gallery: As for ``rank_relevant``.
        truth: Who asks, who is searched, and who should be found; junk is taken out wherever it stands.
        block: As for ``rank_relevant``.
        device: As for ``rank_relevant``.

    Raises:
        ValueError: If ``first`` has not one row a query, names an image twice or one that is not there, or as
            ``rank_relevant`` raises it.
        KeyError: If an image has no descriptor.
    """
    queries, images = len(truth.query), len(truth.gallery)
    row, place = _places(first, queries, images)
    positives, junk = TruthPairs(truth).of()
    head = row * images + place
    counts = ~np.isin(head, junk.key(images).numpy())
    row, head = row[counts], head[counts]
    ranked = np.bincount(row, minlength=queries)
    found = np.isin(head, positives.key(images).numpy())
    rank = (np.arange(len(row)) - np.repeat(np.cumsum(ranked) - ranked, ranked))[found]
    single = np.ones(len(rank), np.int64)

    ordered = Pairs(*(torch.from_numpy(x) for x in np.divmod(np.sort(head), images)))
    others = positives.without(ordered, images)
    hidden = Pairs.join(junk, ordered)
    behind = GroundTruth(truth.query, truth.gallery, _lists(others, truth), _lists(hidden, truth))
    tail = rank_relevant(query, gallery, behind, block=block, device=device)
    shift = ranked[tail.query]

    owner = np.concatenate([row[found], tail.query])
    ranks = np.concatenate([rank, tail.ranks.values + shift])
    by_query = np.lexsort((ranks, owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=queries))])
    return RelevantRanks(
        ranks=RaggedLists(ranks[by_query], offsets),
        positives=np.diff(offsets),
        above=np.concatenate([rank, tail.above + shift])[by_query],
        tied=np.concatenate([single, tail.tied])[by_query],
        tied_relevant=np.concatenate([single, tail.tied_relevant])[by_query],
        ranked=images - np.bincount(junk.row.numpy(), minlength=queries),
    )


def _places(first: IntArray, queries: int, images: int) -> tuple[IntArray, IntArray]:
    """The query and the place of each entry, in the order of queries and ranks."""
    if first.ndim != 2 or len(first) != queries:
        raise ValueError(f"expected the first images of {queries} queries, got an array of shape {first.shape}")
    row, slot = np.nonzero(first >= 0)
    place = first[row, slot].astype(np.int64)
    if (place >= images).any() or len(np.unique(row * images + place)) < len(place):
        raise ValueError(f"the first images of a query must be different places in a gallery of {images}")
    return row, place


def _lists(pairs: Pairs, truth: GroundTruth) -> RaggedLists:
    """Pairs as one list of images a query."""
    order = torch.argsort(pairs.row, stable=True)
    count = torch.bincount(pairs.row, minlength=len(truth.query))
    offsets = np.concatenate([[0], count.cumsum(0).numpy()])
    return RaggedLists(truth.gallery[pairs.column[order].numpy()], offsets)
