"""Leading eigenpairs by block Lanczos iteration, against the full decomposition."""

import pytest
import torch

from retrieval_bench.nn import spectral
from retrieval_bench.nn.affinity import affinity_matrix, normalized_affinity
from retrieval_bench.nn.spectral import Eigenpairs, exact_eigenpairs, lanczos_eigenpairs


def everywhere(matrix):
    return torch.ones(matrix.shape[:2], dtype=torch.bool)


def cut_matrix(features, weights):
    return normalized_affinity(affinity_matrix(features[0], weights))[0][None]


def each(matrix, live, count):
    """One by one, as on a CPU, without what is above the diagonals."""
    found = [lanczos_eigenpairs(x.tril()[None].float(), y[None], count) for x, y in zip(matrix, live, strict=True)]
    return Eigenpairs(*map(torch.cat, zip(*found, strict=True)))


def together(matrix, live, count):
    """In one batch, as on a GPU."""
    return lanczos_eigenpairs(matrix.float(), live, count)


both_ways = pytest.mark.parametrize("eigenpairs", [each, together])


@both_ways
@pytest.mark.parametrize("count", [5, 20])
def test_pairs_are_those_of_the_full_decomposition(real_like_map, count, eigenpairs):
    matrix = torch.cat([cut_matrix(*real_like_map(18, 24, seed)) for seed in range(3)])
    pairs, exact = eigenpairs(matrix, everywhere(matrix), count), exact_eigenpairs(matrix, count)
    assert bool(pairs.converged.all())
    assert float((pairs.values - exact.values).abs().max()) < 1e-6
    vectors = pairs.vectors.double()
    residual = vectors @ matrix - pairs.values[..., None] * vectors
    assert float(residual.norm(dim=2).max()) < 5e-6
    assert float((vectors @ vectors.mT - torch.eye(count)).abs().max()) < 5e-6


@both_ways
def test_an_eigenvalue_of_several_vectors_is_found_as_often(eigenpairs):
    # Eight parts of equal nodes: the value 1 eight times, and once 0.9.
    part = torch.arange(280) % 8
    matrix = (part[:, None] == part).double() / 35
    matrix = torch.block_diag(matrix, 0.9 * torch.ones(20, 20) / 20)[None]
    pairs = eigenpairs(matrix, everywhere(matrix), 9)
    assert bool(pairs.converged.all())
    torch.testing.assert_close(pairs.values[0], torch.tensor([1.0] * 8 + [0.9]), atol=1e-5, rtol=0)
    assert float((pairs.vectors[0] @ pairs.vectors[0].T - torch.eye(9)).abs().max()) < 1e-4


@both_ways
def test_what_is_left_out_changes_nothing(real_like_map, eigenpairs):
    small = cut_matrix(*real_like_map(14, 15))
    padded = torch.rand(1, 360, 360, generator=torch.Generator().manual_seed(0))
    padded = padded + padded.mT
    padded[:, 150:, 150:] = small
    padded[:, :150, 150:] = padded[:, 150:, :150] = 0
    inside = eigenpairs(padded, torch.arange(360)[None] >= 150, 8)
    alone = eigenpairs(small, everywhere(small), 8)
    assert not inside.vectors[0, :, :150].any()
    torch.testing.assert_close(inside.values, alone.values, atol=1e-6, rtol=0)
    cosine = (inside.vectors[0, :, 150:] * alone.vectors[0]).sum(1).abs()
    torch.testing.assert_close(cosine, torch.ones(8), atol=1e-5, rtol=0)


@both_ways
def test_what_was_not_found_is_said(eigenpairs, monkeypatch):
    # A chain of equal nodes: its greatest values lie too close together for these steps.
    monkeypatch.setattr(spectral, "_MOST_STEPS", 96)
    chain = 0.5 * (torch.ones(299).diag(1) + torch.ones(299).diag(-1))
    matrix = torch.stack([chain, torch.diag(0.8 ** torch.arange(300))])
    pairs = eigenpairs(matrix.double(), everywhere(matrix), 8)
    assert pairs.converged.tolist() == [False, True]
