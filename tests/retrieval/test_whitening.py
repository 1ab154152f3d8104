"""Whitening: unit covariance, edge cases, and agreement with slow references in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.retrieval.whitening import LearnedWhitening, Moments, PCAWhitening


def cloud(n=400, d=6, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) * np.geomspace(1, 30, d)
    return torch.from_numpy(rng.standard_normal((n, d)) @ mix + rng.standard_normal(d) * 50)


def projected(whitening, x):
    """Whitened, not yet brought to unit length."""
    return (x - whitening.mean) @ whitening.projection.T


def test_pca_by_hand():
    # Deviations 2 along (3, 4) / 5 and 1 across it, about (1, 1).
    along, across = torch.tensor([0.6, 0.8]).double(), torch.tensor([-0.8, 0.6]).double()
    x = torch.stack([1 + 2 * a * along + b * across for a in (-1, 1) for b in (-1, 1)])
    whitening = PCAWhitening(2).fit(x)
    assert whitening.mean.tolist() == pytest.approx([1, 1])
    assert whitening.projection.numpy() == pytest.approx(np.array([[0.3, 0.4], [0.8, -0.6]]))
    assert whitening(1 + 2 * along).tolist() == pytest.approx([1, 0])
    assert whitening(torch.ones(2).double()).tolist() == [0, 0]  # the centre has no direction


def test_whitened_training_vectors_have_unit_covariance_in_order_of_variance():
    x = cloud()
    whitening = PCAWhitening(6).fit(x)
    y = projected(whitening, x)
    assert y.mean(0).abs().max() < 1e-10
    assert (y.T @ y / len(y)).numpy() == pytest.approx(np.eye(6), abs=1e-9)
    lengths = whitening.projection.norm(dim=1)  # one over the deviation
    assert (lengths[1:] >= lengths[:-1]).all()
    assert whitening(x).norm(dim=1).numpy() == pytest.approx(np.ones(len(x)))


def test_pca_agrees_with_the_singular_values_of_the_vectors():
    x = cloud(seed=3)
    whitening = PCAWhitening(6).fit(x)
    centred = (x - x.mean(0)).numpy()
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    reference = centred @ (directions / (values / np.sqrt(len(x)))[:, None]).T
    ours = projected(whitening, x).numpy()
    assert np.abs(ours) == pytest.approx(np.abs(reference), rel=1e-6, abs=1e-8)


def test_fewer_directions_are_the_first_ones():
    x = cloud()
    assert torch.equal(PCAWhitening(6, 2).fit(x).projection, PCAWhitening(6).fit(x).projection[:2])
    assert PCAWhitening(6, 2).fit(x)(x).shape == (400, 2)


def test_directions_without_variance_become_zero_and_stay_finite():
    x = cloud()
    x[:, 5] = x[:, 0] + x[:, 1]  # five directions left
    whitening = PCAWhitening(6).fit(x)
    assert whitening.projection[5].abs().max() == 0
    assert whitening.projection[4].abs().max() > 0
    y = projected(whitening, x)
    assert (y.T @ y / len(y))[:5, :5].numpy() == pytest.approx(np.eye(5), abs=1e-8)
    same = PCAWhitening(6).fit(torch.ones(3, 6))
    assert same(torch.ones(2, 6) + torch.eye(6)[:2]).tolist() == [[0.0] * 6] * 2
    few = PCAWhitening(6).fit(x[:3])  # a plane at most
    assert (few.projection.abs().amax(1) > 0).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(("share", "kept"), [(4e-9, True), (2.5e-10, False)])
def test_a_direction_is_kept_above_a_billionth_of_the_greatest_variance(share, kept):
    x = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]).double()
    x[:, 1] *= share**0.5
    projection = PCAWhitening(2).fit(x).projection
    assert (projection[1].abs().max() > 0).item() is kept


@settings(max_examples=25)
@given(st.lists(st.integers(0, 120), min_size=1, max_size=5))
def test_moments_do_not_depend_on_how_vectors_are_batched(cuts):
    x = cloud(120) + 1e6  # a mean that is large beside the spread
    moments = Moments(6)
    for part in torch.tensor_split(x, sorted(cuts)):
        moments.add(part)
    assert moments.count == 120
    assert moments.mean.numpy() == pytest.approx(x.mean(0).numpy())
    reference = np.cov(x.numpy().T, bias=True)
    assert moments.covariance.numpy() == pytest.approx(reference, rel=1e-6, abs=1e-5)
    assert torch.allclose(PCAWhitening(6).fit(moments)(x), PCAWhitening(6).fit(x)(x), atol=1e-6)


def test_moments_of_parts_join_to_those_of_all():
    x = cloud()
    parts = [Moments(6).add(x[a:b]) for a, b in ((0, 250), (250, 250), (250, 251), (251, 400))]
    joined, whole = Moments.join(parts), Moments(6).add(x)
    assert joined.count == 400
    torch.testing.assert_close(joined.mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(joined.covariance, whole.covariance, rtol=1e-10, atol=1e-10)
    assert Moments.join([Moments(6), Moments(6)]).count == 0


def learned_reference(query, positive, x):
    """The published steps, one after the other, on columns."""
    query, positive, x = (t.numpy().T for t in (query, positive, x))
    centre = query.mean(1, keepdims=True)
    difference = query - positive
    first = np.linalg.inv(np.linalg.cholesky(difference @ difference.T / difference.shape[1]))
    moved = first @ (x - centre)
    values, vectors = np.linalg.eigh(moved @ moved.T)
    return vectors[:, np.argsort(-values)].T @ first @ (x - centre)


def pairs(n=300, d=5):
    rng = np.random.default_rng(1)
    place = rng.standard_normal((n, d)) * np.array([1, 5, 2, 0.5, 3])
    noise = np.array([3, 0.2, 1, 0.1, 2])
    query, positive = (torch.from_numpy(place + rng.standard_normal((n, d)) * noise + 4) for _ in range(2))
    return query, positive, torch.cat([query, positive])


def test_learned_whitening_is_the_published_one():
    query, positive, x = pairs()
    whitening = LearnedWhitening(5).fit(query, positive, x)
    reference = learned_reference(query, positive, x)
    assert np.abs(projected(whitening, x).numpy().T) == pytest.approx(np.abs(reference), rel=1e-7, abs=1e-9)
    assert whitening(x).norm(dim=1).numpy() == pytest.approx(np.ones(len(x)))


def test_differences_of_pairs_become_white_and_pairs_nearer():
    query, positive, x = pairs()
    whitening = LearnedWhitening(5).fit(query, positive, x)
    difference = projected(whitening, query) - projected(whitening, positive)
    assert (difference.T @ difference / len(query)).numpy() == pytest.approx(np.eye(5), abs=1e-9)

    def found(q, p):
        return ((q @ p.T).argmax(1) == torch.arange(len(q))).double().mean().item()

    plain = found(*(torch.nn.functional.normalize(t - t.mean(0), dim=1) for t in (query, positive)))
    assert found(whitening(query), whitening(positive)) > plain + 0.1


def test_pairs_that_do_not_differ_everywhere_are_learned_from_all_the_same():
    query, positive, x = pairs()
    positive[:, 2] = query[:, 2]  # no Cholesky factor
    x = torch.cat([query, positive])
    whitening = LearnedWhitening(5).fit(query, positive, x)
    assert whitening(x).isfinite().all()
    same = LearnedWhitening(5).fit(query, query, query)
    assert same(query).isfinite().all()


def test_a_checkpoint_holds_everything():
    x = cloud()
    fitted, fresh = PCAWhitening(6, 3).fit(x), PCAWhitening(6, 3)
    with pytest.raises(RuntimeError, match="PCAWhitening was neither fitted nor loaded"):
        fresh(x)
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh(x), fitted(x))
    assert fitted.projection.dtype == torch.float64


def test_the_type_of_vectors_is_kept_and_their_shape_free():
    x = cloud().float()
    whitening = PCAWhitening(6).fit(x)
    exact = whitening(x.double())
    assert whitening(x).dtype == torch.float32
    assert torch.allclose(whitening(x).double(), exact, atol=1e-4)
    assert whitening(x.view(4, 100, 6)).shape == (4, 100, 6)
    assert whitening(x.bfloat16()).dtype == torch.bfloat16


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="no descriptors"):
        PCAWhitening(3).fit(torch.empty(0, 3))
    with pytest.raises(ValueError, match=r"shape \(n, 3\), got \(2, 4\)"):
        PCAWhitening(3).fit(torch.ones(2, 4))
    with pytest.raises(ValueError, match="not finite"):
        PCAWhitening(3).fit(torch.tensor([[1.0, float("nan"), 0]]))
    with pytest.raises(ValueError, match="needs pairs"):
        LearnedWhitening(3).fit(torch.ones(2, 3), torch.ones(1, 3), torch.ones(2, 3))
    for wrong in (0, 4):
        with pytest.raises(ValueError, match="1 to 3 directions"):
            PCAWhitening(3, wrong)


def test_a_published_map_is_taken_with_its_offset():
    weight, bias = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([4.0, 1.0])
    whitening = PCAWhitening(2).set_affine(weight, bias)
    x = torch.tensor([[-2.0, 4.0], [0.0, 0.0]])
    # weight @ x + bias is (0, 3) and (4, 1).
    assert whitening(x).flatten().tolist() == pytest.approx([0, 1, 4 / 17**0.5, 1 / 17**0.5], abs=1e-6)
    assert whitening.mean.tolist() == pytest.approx([-2, 1])
    narrow = PCAWhitening(2, 1).set_affine(weight, bias)
    assert narrow(x).tolist() == [[0], [1]]


@pytest.mark.parametrize(("weight", "bias"), [((2, 3), 2), ((1, 2), 1), ((2, 2), 3)])
def test_a_published_map_of_other_sizes_is_refused(weight, bias):
    with pytest.raises(ValueError, match="cannot whiten vectors of length 2 to 2"):
        PCAWhitening(2).set_affine(torch.ones(weight), torch.ones(bias))
