"""The discretisation of eigenvectors, against rotations of indicators and a plain loop."""

import itertools

import numpy as np
import pytest
import torch

from retrieval_bench.nn.discretize import discretize


def everywhere(vectors):
    return torch.ones(vectors.shape[0], vectors.shape[2], dtype=torch.bool)


def same_partition(a, b):
    return all((a[i] == a[j]) == (b[i] == b[j]) for i, j in itertools.combinations(range(len(a)), 2))


def rotation(size, seed):
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double())[0]


@pytest.mark.parametrize("seed", range(5))
def test_rotated_indicators_give_their_parts_back(seed):
    parts = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(seed))
    indicators = torch.nn.functional.one_hot(parts, 4).double().T
    labels = discretize((rotation(4, seed) @ indicators)[None], torch.tensor([15]), everywhere(indicators[None]))
    assert same_partition(labels[0].tolist(), parts.tolist())
    assert int(labels[0, 15]) == 0


def test_signs_of_the_eigenvectors_do_not_matter():
    vectors = torch.randn(1, 6, 200, generator=torch.Generator().manual_seed(0)).double()
    signs = torch.tensor([1, -1, -1, 1, -1, 1])[:, None]
    first, live = torch.tensor([7]), everywhere(vectors)
    assert torch.equal(discretize(vectors, first, live), discretize(vectors * signs, first, live))


def plain_loop(vectors, first):
    """The published iteration for one graph: ``(N, K)`` vectors, the objective as the rule to stop."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nodes, count = rows.shape
    turn = np.zeros((count, count))
    turn[:, 0] = rows[first]
    overlap = np.zeros(nodes)
    for j in range(1, count):
        overlap += np.abs(rows @ turn[:, j - 1])
        turn[:, j] = rows[overlap.argmin()]
    before = 0.0
    for _ in range(20):
        labels = (rows @ turn).argmax(1)
        chosen = np.eye(count)[labels].T
        empty = chosen.sum(1, keepdims=True) == 0
        left, scale, right = np.linalg.svd(chosen @ rows + 1e-6 * empty * turn.T)
        objective = 2 * (nodes - scale.sum())
        if abs(objective - before) < 2.2e-16:
            break
        before = objective
        turn = right.T @ left.T
    return labels


@pytest.mark.parametrize(("count", "nodes"), [(1, 5), (2, 40), (5, 300), (20, 300)])
def test_labels_are_those_of_a_plain_loop(count, nodes):
    generator = torch.Generator().manual_seed(count)
    parts = torch.randint(0, count, (3, nodes), generator=generator)
    vectors = rotation(count, 0) @ torch.nn.functional.one_hot(parts, count).double().mT
    vectors = vectors + 0.25 * torch.randn(3, count, nodes, generator=generator)
    labels = discretize(vectors, torch.tensor([0, 3, 4]), everywhere(vectors))
    for b, first in enumerate((0, 3, 4)):
        assert labels[b].tolist() == plain_loop(vectors[b].T.numpy(), first).tolist()


def test_padding_has_no_say():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(1, 5, 100, generator=generator).double()
    padded = torch.cat([vectors, torch.randn(1, 5, 30, generator=generator).double()], 2)
    live = torch.arange(130)[None] < 100
    alone = discretize(vectors, torch.tensor([50]), everywhere(vectors))
    assert torch.equal(discretize(padded, torch.tensor([50]), live)[:, :100], alone)


def test_a_cell_without_a_part_in_the_eigenvectors_gets_label_0_and_starts_nothing():
    vectors = torch.tensor([[[1.0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 2]]]).double()
    for first in range(6):
        labels = discretize(vectors, torch.tensor([first]), everywhere(vectors))[0].tolist()
        assert labels[2] == 0
        assert labels[0] == labels[1] != labels[3] == labels[4] == labels[5]
