import math

import pytest
import torch

from retrieval_bench.losses.quantization import discriminability, separability


def test_separability_is_the_sum_over_subspaces_of_the_mean_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 4, generator=generator)
    codes = torch.randint(4, (5, 3), generator=generator)
    slow = 0.0
    for n in range(5):
        for m in range(3):
            scores = [math.exp(x) for x in logits[n, m].tolist()]
            slow -= math.log(scores[codes[n, m]] / sum(scores)) / 5
    assert float(separability(logits, codes)) == pytest.approx(slow, rel=1e-5)


def test_equal_scores_cost_m_times_the_logarithm_of_k():
    logits = torch.zeros(7, 8, 512)
    codes = torch.randint(512, (7, 8), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    assert float(separability(logits, codes)) == pytest.approx(8 * math.log(512), rel=1e-6)


def test_one_codeword_costs_nothing():
    assert float(separability(torch.randn(4, 2, 1), torch.zeros(4, 2, dtype=torch.uint8))) == 0


def test_discriminability_by_hand():
    features, codewords = torch.tensor([[1.0, 2], [0, 0]]), torch.tensor([[0.0, 0], [3, 4]])
    assert float(discriminability(features, codewords)) == (5 + 25) / 2
    assert float(discriminability(features, features)) == 0


def test_codewords_are_constants():
    features = torch.tensor([[1.0, 2]], requires_grad=True)
    codewords = torch.zeros(1, 2, requires_grad=True)
    discriminability(features, codewords).backward()
    assert codewords.grad is None
    assert features.grad.tolist() == [[2, 4]]
