"""From descriptors to numbers: the one path that validation, test, the command line and the tests take."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray
from retrieval_bench.retrieval.hamming import code_blocks
from retrieval_bench.retrieval.metrics import FloatArray, MetricFunction, mean, metric
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.ranks import rank_codes, rank_relevant
from retrieval_bench.retrieval.recall import hits_at
from retrieval_bench.retrieval.reranked import rank_reranked


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one method under one protocol.

    Attributes:
        metrics: The mean of each metric over the queries that have a positive, a fraction in [0, 1].
        per_query: ``(q,)`` float64 values of each metric; ``nan`` for a query without a positive.
        query: ``(q,)`` image indices of the queries.
        queries_without_positive: How many queries were left out of the means.
        seconds_per_query: Wall time of the comparison divided by the number of queries; post-processing is not in it.
        notes: What a reader of the numbers should know of how they were made.
    """

    metrics: dict[str, float]
    per_query: dict[str, FloatArray]
    query: np.ndarray
    queries_without_positive: int
    seconds_per_query: float
    notes: tuple[str, ...] = ()

    def with_metrics(self, per_query: Mapping[str, FloatArray]) -> "Evaluation":
        """The same with more metrics, given as ``(q,)`` values of the queries."""
        more = {key: mean(values) for key, values in per_query.items()}
        return replace(self, metrics={**self.metrics, **more}, per_query={**self.per_query, **per_query})


def evaluate(
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    protocol: Protocol,
    *,
    first: IntArray | None = None,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Measure the metrics of a protocol; those that only codes have are left out for other descriptors.

    The numbers depend on the descriptors, the ground truth and the protocol alone: not on the order in which images
    were described, the number of processes that did it, ``block`` or the device.

    Args:
        query: Descriptors of at least the queries of ``truth``.
        gallery: Descriptors of at least its gallery; the same object as ``query`` where one set of images holds both,
            which may save memory and time.
        truth: Who asks, who is searched, and who should be found.
        protocol: Which metrics, and the order of ties.
        first: ``(q, k)`` places in the gallery of the images that stand first for each query, whatever their
            descriptors say, as ``rank_reranked`` takes them; None where descriptors decide alone.
        block: Descriptors of either side that are compared at once.
        device: Where to compare; by default where the gallery's descriptors are.

    Raises:
        ValueError: If the protocol names no metric that these descriptors have or an unknown one, no query has a
            positive, the two sides cannot be compared, or a descriptor is not finite.
        KeyError: If an image has no descriptor.
    """
    if not protocol.metrics:
        raise ValueError(f"the protocol {protocol.name} of {protocol.dataset} names no metrics")
    wanted = [metric(key, protocol.ties) for key in protocol.metrics]
    if gallery.metric != "hamming" or first is not None:
        # A radius in bits says nothing of other distances.
        wanted = [m for m in wanted if not m.codes_only]
        if not wanted:
            raise ValueError(
                f"{', '.join(protocol.metrics)}: only packed codes have that, not {gallery.metric} vectors"
            )
    start = time.perf_counter()
    per_query = _values(wanted, query, gallery, truth, first, block, device)
    seconds = time.perf_counter() - start
    return Evaluation(
        metrics={key: mean(values) for key, values in per_query.items()},
        per_query=per_query,
        query=truth.query,
        queries_without_positive=int(np.isnan(per_query[wanted[0].key]).sum()),
        seconds_per_query=seconds / max(1, len(truth.query)),
    )


def evaluate_images(
    descriptors: Descriptors,
    truth: GroundTruth,
    protocol: Protocol,
    *,
    block: int = 1024,
    device: torch.device | str | None = None,
) -> Evaluation:
    """``evaluate`` where one set of descriptors holds queries and gallery."""
    return evaluate(descriptors, descriptors, truth, protocol, block=block, device=device)


def _values(
    wanted: list[MetricFunction],
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    first: IntArray | None,
    block: int,
    device: torch.device | str | None,
) -> dict[str, FloatArray]:
    if first is not None:
        ranks = rank_reranked(first, query, gallery, truth, block=block, device=device)
        return {m.key: m.compute(ranks) for m in wanted}
    if all(m.is_recall for m in wanted) and gallery.metric != "adc":
        # Recall needs no more than each query's first positive: a much shorter way to the same values.
        hits = hits_at(query, gallery, truth, [m.k or 0 for m in wanted], block=block, device=device)
        return {m.key: hits[:, i].copy() for i, m in enumerate(wanted)}
    if gallery.metric == "hamming":
        return _values_of_codes(wanted, query, gallery, truth, block, device)
    ranks = rank_relevant(query, gallery, truth, block=block, device=device)
    return {m.key: m.compute(ranks) for m in wanted}


def _values_of_codes(
    wanted: list[MetricFunction],
    query: Descriptors,
    gallery: Descriptors,
    truth: GroundTruth,
    block: int,
    device: torch.device | str | None,
) -> dict[str, FloatArray]:
    """Block by block, so that no more than the values is kept; ranks only for metrics that counts do not settle."""
    values = {m.key: np.full(len(truth.query), np.nan) for m in wanted}
    need_ranks = any(m.from_counts is None for m in wanted)
    for rows, codes in code_blocks(query, gallery, truth, block=block, device=device):
        counts = codes.counts()
        ranks = rank_codes(codes, counts) if need_ranks else None
        for m in wanted:
            if m.from_counts is not None:
                values[m.key][rows] = m.from_counts(counts)
            elif ranks is not None:
                values[m.key][rows] = m.compute(ranks)
    return values
