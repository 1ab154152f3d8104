"""Diffusion and k-reciprocal re-ranking against dense algebra and loops."""

import math

import numpy as np
import pytest
import torch
from postprocessing_cases import clustered, order, take, unit

from retrieval_bench.retrieval.postprocessing import Diffusion, KReciprocalReranking, QueryExpansion


def neighbours(scores, k, without):
    return [j for j in np.argsort(-scores, kind="stable") if j != without][:k]


def diffused_by_dense_solve(query, gallery, k, query_k, alpha, gamma):
    """``(q, g)`` what reaches every image: the affinity matrix in full, and one linear system a query."""
    x, queries = gallery.double().numpy(), query.double().numpy()
    n = len(x)
    close = x @ x.T
    near = [set(neighbours(close[i], k, i)) for i in range(n)]
    affinity = np.zeros((n, n))
    for i in range(n):
        for j in near[i]:
            if i in near[j]:
                affinity[i, j] = max(close[i, j], 0) ** gamma
    total = affinity.sum(1)
    scale = np.array([1 / math.sqrt(t) if t > 0 else 0 for t in total])
    system = np.eye(n) - alpha * scale[:, None] * affinity * scale
    out = []
    for q in queries:
        start = np.zeros(n)
        for j in neighbours(x @ q, query_k, None):
            start[j] = max(x[j] @ q, 0) ** gamma
        out.append(np.linalg.solve(system, start))
    return np.stack(out)


def test_diffusion_agrees_with_a_dense_solution():
    query, gallery = clustered(6, 10, 4, seed=1), clustered(50, 10, 4, seed=2)
    state, notes = take([Diffusion(k=8, query_k=3, alpha=0.9)], query, gallery)
    expected = diffused_by_dense_solve(query, gallery, 8, 3, 0.9, 3.0)
    plain = order(take([], query, gallery)[0])
    for i in range(len(query)):
        reached = [j for j in plain[i] if expected[i, j] > 1e-9]
        others = [j for j in plain[i] if expected[i, j] <= 1e-9]
        assert order(state)[i].tolist() == [*sorted(reached, key=lambda j: -expected[i, j]), *others]
    assert (order(state) != plain).any()
    assert notes == ("diffusion among the first 5,000 on a graph of the 8 nearest, learned from no data",)


def test_a_chain_of_images_carries_similarity_where_descriptors_do_not():
    # Along the arc every image finds its neighbour; the last one is opposite to the query, the outlier is not.
    angles = [10, 30, 50, 70, 90, 110, 130]
    chain = [[math.cos(math.radians(a)), math.sin(math.radians(a)), 0.0] for a in angles]
    query, gallery = unit([1, 0, 0]), unit(*chain, [0.5, 0, -0.85])
    plain = order(take([], query, gallery)[0])[0].tolist()
    assert plain.index(7) < plain.index(6)
    state, _ = take([Diffusion(k=2, query_k=1)], query, gallery)
    found = order(state)[0].tolist()
    assert found.index(7) == 7


def test_truncated_diffusion_leaves_the_images_behind_as_they_are():
    query, gallery = clustered(4, 10, 4, seed=1), clustered(50, 10, 4, seed=2)
    plain = order(take([], query, gallery)[0])
    cut = order(take([Diffusion(k=8, top=12)], query, gallery)[0])
    np.testing.assert_array_equal(cut[:, 12:], plain[:, 12:])
    np.testing.assert_array_equal(np.sort(cut[:, :12]), np.sort(plain[:, :12]))
    assert (cut != plain).any()


def reranked_by_loop(data, gallery_size, own, k1, k2, share):
    """Zhong et al. by sets of images: the query stands behind the gallery in ``data``, or in it at ``own``."""
    x = data.double().numpy()
    close = x @ x.T
    images = range(gallery_size)
    ranked = {i: [i, *neighbours(close[i, :gallery_size], gallery_size, i)] for i in images}
    half = round(k1 / 2)

    def reciprocal(i, k):
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    def extended(first):
        out = set(first)
        for j in first:
            more = reciprocal(j, half)
            if 3 * len(more & first) >= 2 * len(more):
                out |= more
        return out

    def weights(i, members):
        value = {j: math.exp(close[i, j] - 1) for j in members}
        return {j: v / sum(value.values()) for j, v in value.items()}

    def mean(parts):
        return {j: sum(p.get(j, 0) for p in parts) / len(parts) for j in set().union(*parts)}

    plain = {i: weights(i, extended(reciprocal(i, k1))) for i in images}
    gallery = {i: mean([plain[j] for j in ranked[i][:k2]]) for i in images}
    if own is not None:
        me, mine = own, gallery[own]
    else:
        me = gallery_size
        near = neighbours(close[me, :gallery_size], k1, None)
        # It is among an image's nearest if it is nearer than the last of them.
        first = {j for j in near if close[me, j] >= close[j, ranked[j][k1]]}
        mine = mean([weights(me, extended(first) | {me}), *(plain[j] for j in near[: k2 - 1])])
    distance = {}
    for i in images:
        both = set(mine) | set(gallery[i])
        shared = sum(min(mine.get(j, 0), gallery[i].get(j, 0)) for j in both)
        either = sum(max(mine.get(j, 0), gallery[i].get(j, 0)) for j in both)
        distance[i] = (1 - share) * (1 - shared / either) + share * (1 - close[me, i])
    return sorted((i for i in images if i != own), key=lambda i: (distance[i], -close[me, i]))


@pytest.mark.parametrize(("k1", "k2", "share"), [(8, 3, 0.3), (5, 1, 0.0), (6, 6, 0.8)])
def test_k_reciprocal_reranking_agrees_with_a_loop(k1, k2, share):
    step = KReciprocalReranking(k1, k2, share)
    data = clustered(45, 8, 5, seed=4, noise=0.8)
    query, gallery = data[:5], data[5:]
    found = order(take([step], query, gallery)[0])
    for i in range(5):
        expected = reranked_by_loop(torch.cat([gallery, query[i : i + 1]]), 40, None, k1, k2, share)
        assert found[i].tolist() == expected
    assert (found != order(take([], query, gallery)[0])).any()


def test_queries_that_are_searched_too_are_ranked_by_their_own_neighbourhoods():
    data = clustered(30, 8, 4, seed=5, noise=0.8)
    state, notes = take([KReciprocalReranking(6, 3)], data)
    for i, row in enumerate(order(state)):
        assert row[:-1].tolist() == reranked_by_loop(data, 30, i, 6, 3, 0.3)
        assert row[-1] == -1
    assert notes == ("re-ranking of the first 5,000 by 6 reciprocal neighbours, learned from no data",)


def test_the_distance_alone_leaves_the_order():
    query, gallery = clustered(4, 8, 4, seed=1), clustered(30, 8, 4)
    same = order(take([KReciprocalReranking(distance_share=1.0)], query, gallery)[0])
    np.testing.assert_array_equal(same, order(take([], query, gallery)[0]))


def test_a_second_ranking_step_starts_from_the_first_and_expansion_asks_everything_again():
    query, gallery = clustered(4, 8, 4, seed=1), clustered(60, 8, 4, noise=0.9)
    diffused = take([Diffusion(k=6, top=10)], query, gallery)[0]
    again = take([Diffusion(k=6, top=10), KReciprocalReranking(6, 2, top=20)], query, gallery)[0]
    np.testing.assert_array_equal(np.sort(order(again)[:, :20]), np.sort(order(diffused)[:, :20]))
    np.testing.assert_array_equal(order(again)[:, 20:], order(diffused)[:, 20:])
    expanded = take([Diffusion(k=6), QueryExpansion(3)], query, gallery)[0]
    first = order(take([Diffusion(k=6)], query, gallery)[0])[:, :3]
    mean = query + gallery[first].sum(1)
    torch.testing.assert_close(expanded.query.data, mean / mean.norm(dim=1, keepdim=True))
    assert expanded.first is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Diffusion(k=0),
        lambda: Diffusion(alpha=1.0),
        lambda: Diffusion(top=0),
        lambda: KReciprocalReranking(k1=5),
        lambda: KReciprocalReranking(distance_share=1.5),
    ],
)
def test_numbers_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="needs k"):
        make()
