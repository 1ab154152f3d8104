"""Product quantisation: distances kept by padding and rotation, errors that fall, exact codes."""

import itertools

import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.kmeans import kmeans
from retrieval_bench.retrieval.quantization import ProductQuantizer


def correlated(n=2000, d=24, seed=0):
    """Gaussian vectors whose directions of variance lie across the axes."""
    g = torch.Generator().manual_seed(seed)
    across = torch.linalg.qr(torch.randn(d, d, generator=g))[0]
    return torch.randn(n, d, generator=g) * torch.arange(1.0, d + 1) ** -1.0 @ across + 0.1


def original(quantizer, codes):
    """Reconstructions turned back, still with the filled-up columns."""
    return quantizer.decode(codes) @ quantizer.rotation


def test_one_subspace_is_plain_vector_quantisation():
    x = correlated(300, 5)
    quantizer = ProductQuantizer(5, subspaces=1, codewords=16)
    quantizer.fit(x, rotate=False, last_passes=7, seed=4)
    centroids, owner = kmeans(x, 16, passes=7, seed=4)
    assert torch.equal(quantizer.codebooks[0], centroids)
    assert torch.equal(quantizer.encode(x)[:, 0].long(), owner)


def test_codes_by_hand():
    quantizer = ProductQuantizer(3, subspaces=2, codewords=2)  # one column of zeros is added
    quantizer.codebooks.copy_(torch.tensor([[[0.0, 0], [4, 0]], [[1, 0], [5, 0]]]))
    quantizer.fitted.fill_(True)
    x = torch.tensor([[1.0, 0, 5], [3, 1, 2], [2, 7, 3]])  # the last one is halfway in both subspaces
    codes = quantizer.encode(x)
    assert codes.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert quantizer.decode(codes).tolist() == [[0, 0, 5, 0], [4, 0, 1, 0], [0, 0, 1, 0]]
    assert quantizer.tables(x[:2]).tolist() == [[[1, 9], [16, 0]], [[10, 2], [1, 9]]]


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize(("dim", "subspaces", "codewords"), [(300, 8, 512), (300, 4, 256), (24, 3, 8)])
def test_table_sums_are_distances_from_reconstructions_in_both_spaces(dim, subspaces, codewords, rotate):
    x = correlated(1500, dim)
    quantizer = ProductQuantizer(dim, subspaces, codewords)
    quantizer.fit(x, rotate=rotate, rounds=2, last_passes=1)
    query, codes = x[:20] + 0.01, quantizer.encode(x[20:60])
    tables = quantizer.tables(query)
    sums = sum(tables[:, m, codes[:, m].long()] for m in range(subspaces))
    rotated = (quantizer.rotate(query)[:, None] - quantizer.decode(codes)).square().sum(2)
    unrotated = (quantizer.pad(query)[:, None] - original(quantizer, codes)).square().sum(2)
    assert torch.allclose(sums, rotated, rtol=1e-4, atol=1e-4)
    assert torch.allclose(sums, unrotated, rtol=1e-4, atol=1e-4)
    assert (quantizer.rotation != torch.eye(len(quantizer.rotation))).any() == rotate


def test_enough_codewords_for_every_distinct_part_lose_nothing():
    g = torch.Generator().manual_seed(0)
    words = torch.randn(2, 5, 4, generator=g)
    pick = torch.randint(0, 5, (400, 2), generator=g)
    x = torch.cat([words[0][pick[:, 0]], words[1][pick[:, 1]]], dim=1)
    for codewords in (5, 8):
        quantizer = ProductQuantizer(8, subspaces=2, codewords=codewords)
        assert quantizer.fit(x, rotate=False, last_passes=1)[-1] == 0
        assert torch.equal(quantizer.decode(quantizer.encode(x)), x)


@pytest.mark.parametrize(("dim", "subspaces"), [(24, 4), (26, 4), (30, 8)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_opq_s_error_never_rises_and_ends_below_that_of_pq(dim, subspaces, seed):
    x = correlated(d=dim, seed=seed)
    plain = ProductQuantizer(dim, subspaces, 16).fit(x, rotate=False, seed=seed)
    quantizer = ProductQuantizer(dim, subspaces, 16)
    errors = quantizer.fit(x, rounds=8, seed=seed)
    assert len(errors) == 9
    assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0]
    assert errors[-1] <= plain[-1]
    eye = torch.eye(len(quantizer.rotation))
    assert (quantizer.rotation.T @ quantizer.rotation - eye).norm() < 1e-5
    found = (quantizer.rotate(x) - quantizer.decode(quantizer.encode(x))).square().sum(1).mean()
    assert found.item() <= errors[-1] * (1 + 1e-6)
    assert found.item() == pytest.approx(errors[-1], rel=0.02)


def test_principal_directions_are_dealt_out_evenly():
    # Variances 8, 4, 2, 1 over two subspaces: 8 and 1 here, 4 and 2 there; in order it would be 8 and 4.
    corners = torch.tensor(list(itertools.product([-1.0, 1], repeat=4)))
    x = corners * torch.tensor([8.0, 4, 2, 1]).sqrt()
    quantizer = ProductQuantizer(4, subspaces=2, codewords=4)
    errors = quantizer.fit(x, rounds=1, last_passes=5)
    assert sorted(map(tuple, quantizer.codebooks.abs().amax(1).square().round().tolist())) == [(4, 2), (8, 1)]
    assert errors[-1] == pytest.approx(0, abs=1e-6)


def test_zeros_and_rotation_leave_all_distances():
    x = correlated(60, 30)
    quantizer = ProductQuantizer(30, subspaces=8, codewords=8)
    assert quantizer.pad(x).shape == (60, 32)
    quantizer.fit(x, rounds=3, last_passes=1)
    expected = (x[:, None] - x).double().square().sum(2)
    for same in (quantizer.pad(x), quantizer.rotate(x)):
        assert torch.allclose((same[:, None] - same).double().square().sum(2), expected, atol=1e-5)


def test_codes_have_the_type_and_the_packed_size_of_the_paper():
    x = correlated(1100, 16)
    for codewords, kind, size in ((256, torch.uint8, 8), (512, torch.int16, 9)):
        quantizer = ProductQuantizer(16, subspaces=8, codewords=codewords)
        quantizer.fit(x, rotate=False, last_passes=1)
        codes = quantizer.encode(x)
        assert codes.dtype == kind
        assert quantizer.bits == 8 * size
        packed = quantizer.pack(codes)
        assert packed.shape == (1100, size)
        assert torch.equal(quantizer.unpack(packed), codes)
    assert ProductQuantizer(16, subspaces=4, codewords=1).bits == 4


def test_a_seed_decides_and_the_program_s_random_numbers_are_left_alone():
    x, state = correlated(), torch.get_rng_state()
    codebooks = []
    for seed in (0, 0, 1):
        quantizer = ProductQuantizer(24, 4, 16)
        quantizer.fit(x, rounds=2, last_passes=2, seed=seed)
        codebooks.append(quantizer.codebooks.clone())
    assert torch.equal(codebooks[0], codebooks[1])
    assert not torch.equal(codebooks[0], codebooks[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_no_more_samples_than_asked_for_are_learned_from():
    x = correlated(1000, 8)
    quantizer = ProductQuantizer(8, subspaces=1, codewords=50)
    quantizer.fit(x, rotate=False, samples=50, last_passes=1)
    chosen = {tuple(row) for row in quantizer.codebooks[0].tolist()}
    assert len(chosen) == 50  # each sample is a codeword
    assert chosen <= {tuple(row) for row in x.tolist()}


def test_a_warm_start_goes_on_where_the_last_fit_ended():
    x = correlated()
    quantizer = ProductQuantizer(24, 4, 16)
    cold = quantizer.fit(x, rounds=4, last_passes=5)
    before = quantizer.encode(x)
    warm = quantizer.fit(x + 0.001, rounds=2, last_passes=2, warm_start=True)
    assert warm[0] <= cold[-1] * 1.001
    assert (quantizer.encode(x) == before).float().mean() > 0.8  # the codewords kept their numbers
    with pytest.raises(RuntimeError, match="neither fitted nor loaded"):
        ProductQuantizer(24, 4, 16).fit(x, warm_start=True)


def test_a_checkpoint_holds_everything():
    x = correlated()
    fitted, fresh = ProductQuantizer(24, 4, 16), ProductQuantizer(24, 4, 16)
    fitted.fit(x, rounds=2, last_passes=2)
    for unlearned in (fresh.encode, fresh.tables, lambda _: fresh.decode(torch.zeros(1, 4, dtype=torch.uint8))):
        with pytest.raises(RuntimeError, match="ProductQuantizer was neither fitted nor loaded"):
            unlearned(x)
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh.encode(x), fitted.encode(x))
    assert torch.equal(fresh.tables(x[:3]), fitted.tables(x[:3]))


def test_tables_do_not_depend_on_which_queries_come_together():
    x = correlated()
    quantizer = ProductQuantizer(24, 4, 16)
    quantizer.fit(x, rounds=2, last_passes=2)
    together = quantizer.tables(x[:50])
    assert together.shape == (50, 4, 16)
    assert torch.equal(torch.cat([quantizer.tables(part) for part in x[:50].split(7)]), together)


def test_gradients_pass_the_rotation_but_reach_neither_it_nor_the_codewords():
    x = correlated(200)
    quantizer = ProductQuantizer(24, 4, 16)
    quantizer.fit(x, rounds=2, last_passes=2)
    feature = x[:5].clone().requires_grad_()
    (quantizer.rotate(feature) - quantizer.decode(quantizer.encode(feature))).square().sum().backward()
    expected = 2 * (quantizer.pad(x[:5]) - original(quantizer, quantizer.encode(x[:5])))
    assert torch.allclose(feature.grad, expected, atol=1e-5)
    assert not list(quantizer.parameters())
    assert not any(buffer.requires_grad for buffer in quantizer.buffers())


def test_all_vectors_equal_are_one_codeword():
    x = torch.ones(10, 6)
    quantizer = ProductQuantizer(6, subspaces=2, codewords=4)
    assert quantizer.fit(x)[-1] == pytest.approx(0, abs=1e-12)
    assert len(set(map(tuple, quantizer.encode(x).tolist()))) == 1


def test_what_cannot_be_learned_from_is_refused():
    quantizer = ProductQuantizer(3, subspaces=2, codewords=2)
    with pytest.raises(ValueError, match="from 0 vectors"):
        quantizer.fit(torch.empty(0, 3))
    with pytest.raises(ValueError, match="not finite"):
        quantizer.fit(torch.tensor([[1.0, float("nan"), 0]]))
    with pytest.raises(ValueError, match=r"shape \(n, 3\), got \(2, 4\)"):
        quantizer.fit(torch.ones(2, 4))
    quantizer.fit(torch.ones(2, 3))
    with pytest.raises(ValueError, match="no code"):
        quantizer.encode(torch.full((1, 3), float("inf")))
    with pytest.raises(OptionError, match="subspaces is 4: vectors of length 3 have 1 to 3"):
        ProductQuantizer(3, subspaces=4)
    with pytest.raises(OptionError, match="codewords is 0"):
        ProductQuantizer(3, subspaces=1, codewords=0)
