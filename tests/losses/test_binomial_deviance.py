"""Binomial deviance: values and slopes by hand, and what must not change it."""

import pytest
import torch

from retrieval_bench.losses import BinomialDeviance


def pair_loss(similarity: float, *, same: bool) -> torch.Tensor:
    s = torch.eye(2)
    s[0, 1] = s[1, 0] = similarity
    return BinomialDeviance()(s, torch.tensor([0, 0 if same else 1]))


@pytest.mark.parametrize(("similarity", "expected"), [(1.0, 0.313262), (0.5, 0.693147), (0.0, 1.313262)])
def test_positive_pair_by_hand(similarity, expected):
    assert pair_loss(similarity, same=True).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("similarity", "expected"), [(0.0, 1.3888e-11), (0.5, 0.693147), (0.6, 5.006715), (1.0, 25.0)])
def test_negative_pair_by_hand(similarity, expected):
    assert pair_loss(similarity, same=False).item() == pytest.approx(expected, rel=1e-4)


def test_three_vectors_by_hand():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert BinomialDeviance()(x @ x.T, torch.tensor([0, 0, 1])).item() == pytest.approx(0.313262, abs=1e-6)


@pytest.mark.parametrize(("same", "slope"), [(True, -1.0), (False, 25.0)])
def test_slope_at_the_border_is_the_papers_constant(same, slope):
    s = torch.full((2, 2), 0.5, requires_grad=True)
    BinomialDeviance()(s, torch.tensor([0, 0 if same else 1])).backward()
    # Both ordered pairs share the mean, so each gets half of the slope.
    assert (s.grad[0, 1] + s.grad[1, 0]).item() == pytest.approx(slope)
    assert s.grad.diagonal().abs().max() == 0


@pytest.mark.parametrize("value", [-1.0, 1.0, 100.0])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_finite_where_pairs_are_missing_or_extreme(value, labels):
    s = torch.full((3, 3), value, requires_grad=True)
    loss = BinomialDeviance()(s, torch.tensor(labels))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(s.grad).all()


def test_order_and_rotation_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(12, 6, generator=generator, dtype=torch.float64), dim=1)
    label = torch.arange(12) % 4
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    order = torch.randperm(12, generator=generator)
    loss, y = BinomialDeviance(), x @ rotation
    expected = loss(x @ x.T, label)
    assert torch.allclose(loss(x[order] @ x[order].T, label[order]), expected)
    assert torch.allclose(loss(y @ y.T, label), expected)


def test_equals_a_loop_over_pairs():
    generator = torch.Generator().manual_seed(1)
    s, label = torch.rand(9, 9, generator=generator), torch.arange(9) % 3
    positive, negative = [], []
    for i in range(9):
        for j in range(9):
            if i != j and label[i] == label[j]:
                positive.append(torch.log(1 + torch.exp(-2 * (s[i, j] - 0.5))))
            elif i != j:
                negative.append(torch.log(1 + torch.exp(2 * 10 * (s[i, j] - 0.5))))
    expected = torch.stack(positive).mean() + torch.stack(negative).mean()
    assert torch.allclose(BinomialDeviance(c=10)(s, label), expected)


def test_hard_pairs_keeps_what_is_within_a_tenth_of_the_hardest_opponent():
    # Anchor 0: positives 1 (0.9) and 2 (0.3); negatives 3 (0.25) and 4 (0.1). Others see only easy pairs.
    s = torch.eye(5)
    s[0] = torch.tensor([1.0, 0.9, 0.3, 0.25, 0.1])
    label = torch.tensor([0, 0, 0, 1, 2])
    s[1:, :] = torch.where(label[1:, None] == label[None, :], 0.9, -0.9)
    positive, negative = BinomialDeviance._keep_hard(
        s, (label[:, None] == label) & ~torch.eye(5, dtype=torch.bool), label[:, None] != label
    )
    assert positive[0].tolist() == [False, False, True, False, False]  # 0.3 < 0.25 + 0.1, 0.9 is not
    assert negative[0].tolist() == [False, False, False, True, False]  # 0.25 > 0.3 - 0.1, 0.1 is not
    assert not positive[1].any()
    assert not negative[1].any()


def test_per_anchor_means_equal_a_loop_over_anchors():
    # Unequal classes, so that anchors have different numbers of pairs; class 2 has no positive.
    generator = torch.Generator().manual_seed(2)
    s, label = torch.rand(7, 7, generator=generator), torch.tensor([0, 0, 0, 0, 1, 1, 2])
    kinds = ([], [])
    for i in range(7):
        positive = [torch.log(1 + torch.exp(-2 * (s[i, j] - 0.5))) for j in range(7) if j != i and label[j] == label[i]]
        negative = [torch.log(1 + torch.exp(40 * (s[i, j] - 0.5))) for j in range(7) if label[j] != label[i]]
        for kind, values in zip(kinds, (positive, negative), strict=True):
            if values:
                kind.append(torch.stack(values).mean())
    expected = sum(torch.stack(kind).mean() for kind in kinds)
    assert torch.allclose(BinomialDeviance(c=20, per_anchor=True)(s, label), expected)
    assert not torch.allclose(BinomialDeviance(c=20)(s, label), expected)
