"""Leading eigenpairs by block Lanczos iteration, against the full decomposition."""

import pytest
import torch

from retrieval_bench.nn.affinity import affinity_matrix, normalized_affinity
from retrieval_bench.nn.spectral import Panel, exact_eigenpairs, filtered_eigenpairs, multiply


def whole(matrix):
    size = matrix.shape[-1]
    return [Panel(slice(0, size), slice(0, size), matrix.float())]


def everywhere(matrix):
    return torch.ones(matrix.shape[:2], dtype=torch.bool)


def cut_matrix(features, weights):
    return normalized_affinity(affinity_matrix(features[0], weights))[0][None]


def test_panels_multiply_as_the_matrix_they_make_up():
    matrix = torch.randn(2, 9, 9, generator=torch.Generator().manual_seed(0))
    matrix[:, 6:, :4] = 0
    matrix[:, :2, 4:] = 0
    panels = [
        Panel(slice(0, 6), slice(0, 4), matrix[:, :6, :4]),
        Panel(slice(2, 9), slice(4, 9), matrix[:, 2:, 4:]),
    ]
    x = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(multiply(panels, x), x @ matrix)


@pytest.mark.parametrize("count", [5, 20])
def test_pairs_are_those_of_the_full_decomposition(real_like_map, count):
    matrix = torch.cat([cut_matrix(*real_like_map(18, 24, seed)) for seed in range(3)])
    pairs, exact = filtered_eigenpairs(whole(matrix), everywhere(matrix), count), exact_eigenpairs(matrix, count)
    assert bool(pairs.converged.all())
    assert float((pairs.values - exact.values).abs().max()) < 1e-5
    vectors = pairs.vectors.double()
    residual = vectors @ matrix - pairs.values[..., None] * vectors
    assert float(residual.norm(dim=2).max()) < 2e-3
    assert float((vectors @ vectors.mT - torch.eye(count)).abs().max()) < 1e-4


def test_an_eigenvalue_of_several_vectors_is_found_as_often():
    # Four parts of equal nodes: the value 1 four times, the next ones far below.
    size = 200
    part = torch.arange(size) % 4
    noise = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    matrix = 4 / size * (part[:, None] == part).float() + 0.01 / size * (noise + noise.T - 1)
    pairs = filtered_eigenpairs(whole(matrix[None]), everywhere(matrix[None]), 5)
    torch.testing.assert_close(pairs.values[0, :4], torch.ones(4), atol=1e-3, rtol=0)
    assert float(pairs.values[0, 4]) < 0.1


def test_padding_and_company_change_nothing(real_like_map):
    small, large = cut_matrix(*real_like_map(14, 15)), cut_matrix(*real_like_map(18, 20, 1))
    padded = torch.rand(1, 360, 360, generator=torch.Generator().manual_seed(0)) - 1
    padded[:, :210, :210] = small
    padded[:, :210, 210:] = padded[:, 210:, :210] = 0
    live = torch.stack([torch.arange(360) < 210, torch.ones(360, dtype=torch.bool)])
    together = filtered_eigenpairs(whole(torch.cat([padded, large])), live, 8)
    alone = filtered_eigenpairs(whole(small), everywhere(small), 8)
    assert not together.vectors[0, :, 210:].any()
    torch.testing.assert_close(together.values[0], alone.values[0], atol=1e-5, rtol=0)
    cosine = (together.vectors[0, :, :210] * alone.vectors[0]).sum(1).abs()
    torch.testing.assert_close(cosine, torch.ones(8), atol=1e-4, rtol=0)


def test_what_was_not_found_is_said():
    # One value 300 times over: four vectors span all that the iteration ever sees.
    matrix = torch.stack([0.5 * torch.eye(300), torch.diag(torch.linspace(1, 0.01, 300) ** 3)])
    pairs = filtered_eigenpairs(whole(matrix), everywhere(matrix), 8)
    assert pairs.converged.tolist() == [False, True]
