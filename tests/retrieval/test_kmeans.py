"""K-means: exact assignment, means that settle, and every distinct point found where centroids suffice."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import kmeans as blocks
from retrieval_bench.retrieval.kmeans import assign, draw, kmeans, lloyd, squared_error


def points(n=500, d=6, seed=0, clusters=7):
    g = torch.Generator().manual_seed(seed)
    centres = 4 * torch.randn(clusters, d, generator=g)
    return centres[torch.randint(0, clusters, (n,), generator=g)] + torch.randn(n, d, generator=g)


def slow_assign(x, centroids):
    """The first of the nearest centroids, by plain float64 distances."""
    difference = x.double().numpy()[:, None] - centroids.double().numpy()
    return np.argmin((difference**2).sum(2), axis=1).tolist()


def error(x, centroids):
    return squared_error(x, centroids, assign(x, centroids)).double().sum().item()


def test_four_points_by_hand():
    x = torch.tensor([[0.0, 0], [0, 2], [10, 0], [10, 4]])
    start = torch.tensor([[0.0, 0], [10, 0]])
    centroids, owner = lloyd(x, start, 1)
    assert centroids.tolist() == [[0, 1], [10, 2]]
    assert owner.tolist() == [0, 0, 1, 1]
    assert squared_error(x, centroids, owner).tolist() == [1, 1, 4, 4]


def test_of_equally_near_centroids_the_first_counts():
    centroids = torch.tensor([[4.0], [1], [3], [1]])
    assert assign(torch.tensor([[2.0], [1], [3.5], [0], [9]]), centroids).tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("shift", [0.0, 3000.0])
def test_near_ties_that_float32_orders_wrongly_are_decided_by_float64(shift):
    # Centroids that differ in the last bits of a component: screening far from the origin cannot tell them apart.
    g = torch.Generator().manual_seed(1)
    x = torch.randn(200, 30, generator=g) + shift
    base = torch.randn(5, 30, generator=g) + shift
    centroids = torch.cat([base * (1 + k * 2.0**-22) for k in range(6)])
    assert assign(x, centroids).tolist() == slow_assign(x, centroids)
    with_ties = torch.cat([centroids, centroids.flip(0)])
    assert assign(x, with_ties).tolist() == slow_assign(x, with_ties)


def test_neither_blocks_nor_threads_nor_strides_change_an_assignment(monkeypatch):
    x = points(3000, 40)
    centroids = draw(x, 64, torch.Generator().manual_seed(2))
    expected = slow_assign(x, centroids)
    wide = torch.cat([x, x], dim=1)[:, 20:60].roll(20, 1)  # the same columns, in rows that are not contiguous
    threads = torch.get_num_threads()
    try:
        for size, count in ((2**6, 1), (2**10, 2), (2**18, 2), (2**24, 2)):
            monkeypatch.setattr(blocks, "_SCORES_AT_ONCE", size)
            torch.set_num_threads(count)
            assert assign(x, centroids).tolist() == expected
            assert assign(wide, centroids).tolist() == expected
    finally:
        torch.set_num_threads(threads)


def test_blocks_as_large_as_a_device_takes_move_centroids_to_the_same_bits(monkeypatch):
    x = points(3000, 40)
    start = draw(x, 64, torch.Generator().manual_seed(2))
    found = []
    for size in (2**10, 2**18, blocks._ON_DEVICE):
        monkeypatch.setattr(blocks, "_SCORES_AT_ONCE", size)
        centroids, owner = lloyd(x, start, 3)
        found.append((centroids, owner, squared_error(x, centroids, owner)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_assigns_as_the_cpu_does_in_few_blocks(monkeypatch):
    x = points(70_000, 40)
    centroids = draw(x, 512, torch.Generator().manual_seed(2))
    calls, found = [], blocks._argmin
    monkeypatch.setattr(blocks, "_argmin", lambda score: calls.append(len(score)) or found(score))
    there = assign(x.cuda(), centroids.cuda())
    assert calls == [2**15, 2**15, 70_000 - 2**16]
    assert torch.equal(there.cpu(), assign(x, centroids))


def test_the_error_never_rises_and_centroids_end_as_means():
    x = points()
    centroids = draw(x, 12, torch.Generator().manual_seed(0))
    errors = [error(x, centroids)]
    for _ in range(30):
        centroids, _ = lloyd(x, centroids, 1)
        errors.append(error(x, centroids))
    assert all(after <= before * (1 + 1e-7) for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0] / 1.3
    owner = assign(x, centroids)
    for k in range(12):
        assert torch.allclose(x[owner == k].double().mean(0), centroids[k].double(), atol=1e-5)


def test_the_same_seed_gives_the_same_centroids_and_another_one_others():
    x = points()
    state = torch.get_rng_state()
    first, again, other = (kmeans(x, 10, passes=3, seed=seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)  # the program's own random numbers are left alone


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 3), st.integers(0, 100))
def test_with_a_centroid_for_every_distinct_point_nothing_is_lost(values, more, seed):
    vocabulary = points(10, 3, seed=3)
    x = vocabulary[values]
    clusters = len(set(values)) + more
    centroids, owner = kmeans(x, clusters, passes=1, seed=seed)
    assert torch.equal(centroids[owner], x)


def test_a_centroid_that_owns_nothing_moves_to_the_farthest_point():
    x = torch.tensor([[0.0], [1], [2], [10], [30]])
    start = torch.tensor([[1.0], [100], [100]])
    centroids, owner = lloyd(x, start, 1)
    # All go to the first; then 30 founds a cluster of its own, and after that 10 is the farthest.
    assert owner.tolist() == [0, 0, 0, 2, 1]
    assert centroids.tolist() == [[1], [30], [10]]


def test_without_a_point_to_move_to_a_centroid_stays():
    x = torch.tensor([[1.0, 2]]).expand(4, 2)
    centroids, owner = lloyd(x, torch.tensor([[1.0, 2], [7, 7]]), 3)
    assert centroids.tolist() == [[1, 2], [7, 7]]
    assert owner.tolist() == [0] * 4


def test_no_point_is_drawn_twice_before_all_were():
    x = torch.arange(6.0)[:, None]
    g = torch.Generator().manual_seed(0)
    assert sorted(draw(x, 6, g).flatten().tolist()) == [0, 1, 2, 3, 4, 5]
    assert sorted(draw(x, 8, g).flatten().tolist())[:1] == [0]
    assert len(set(draw(x, 8, g).flatten().tolist())) == 6


def test_k_equal_to_the_number_of_points_makes_each_its_own_centre():
    x = points(40)
    centroids, owner = kmeans(x, 40, passes=2)
    assert torch.equal(centroids[owner], x)
    assert sorted(owner.tolist()) == list(range(40))
