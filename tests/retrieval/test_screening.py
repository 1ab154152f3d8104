import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval import screening
from retrieval_bench.retrieval.counting import Pairs
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.screening import Screen
from retrieval_bench.retrieval.similarity import Comparison

HAS_BFLOAT16 = screening.bfloat16_pays(torch.device("cpu"))
NONE = Pairs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    spread=st.sampled_from([0.0, 3.0, 12.0]),
    shift=st.sampled_from([-3.0, 0.0, 3.0]),
    dimension=st.sampled_from([3, 64, 300]),
    metric=st.sampled_from(["dot", "euclidean"]),
)
def test_no_image_that_scores_as_high_is_screened_below_the_floor(seed, spread, shift, dimension, metric):
    generator = torch.Generator().manual_seed(seed)
    x = shift + torch.randn(50, dimension, generator=generator)
    # Magnitudes far apart, but none that overflows float32 when multiplied.
    x *= torch.exp2(spread * torch.randn(50, dimension, generator=generator).clamp(-4, 4))
    d = Descriptors(x, torch.arange(50), metric)
    comparison = Comparison.of(d, d, np.arange(20), np.arange(50))
    query, image = (grid.flatten() for grid in torch.meshgrid(torch.arange(20), torch.arange(50), indexing="ij"))
    exact = comparison.exact(query, image).view(20, 50)
    as_high = exact[:, None, :] >= exact[:, :, None]
    for coarse in {False, HAS_BFLOAT16 and metric == "dot"}:
        screen = Screen(comparison, NONE, rows=20, columns=50, coarse=coarse)
        assert screen.coarse == coarse
        screened = screen.scores(0, 0).float()
        for i in range(50):
            floor = screen.floor(screened[:, i], slice(0, 20))
            assert (screened >= floor[:, None])[as_high[:, i]].all()
            lower, upper = screen.window(exact[:, i])
            assert ((lower <= screened[:, i]) & (screened[:, i] <= upper)).all()


def test_infinite_values_are_their_own_floor():
    d = Descriptors(torch.eye(3), torch.arange(3))
    screen = Screen(Comparison.of(d, d, np.arange(3), np.arange(3)), NONE, rows=3, columns=3)
    floor = screen.floor(torch.tensor([math.inf, -math.inf]), slice(1, 3))
    assert floor.tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (3, 2), (9, 9)])
def test_excluded_pairs_score_lowest_in_their_tile_alone(height, width):
    d = Descriptors(torch.ones(5, 2), torch.arange(5))
    excluded = Pairs(torch.tensor([4, 0, 2]), torch.tensor([3, 0, 4]))
    screen = Screen(Comparison.of(d, d, np.arange(5), np.arange(5)), excluded, rows=height, columns=width)
    assert not screen.halved
    table = torch.zeros(5, 5)
    for i, j in screen.places():
        table[screen.rows[i], screen.columns[j]] = screen.scores(i, j).float()
    expected = torch.full((5, 5), 2.0)
    expected[[4, 0, 2], [3, 0, 4]] = -math.inf
    assert torch.equal(table, expected)
