"""The normalised cut: its affinities and matrix by hand, its invariants, and its fast way against the exact one."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.affinity import Cells, affinity_matrix, normalized_affinity
from retrieval_bench.nn.ncut import cut_affinity, normalized_cut


def blobs(per_blob=80, seed=0):
    """Three clouds in R^4 and which cell is of which."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[0.0, 0, 0, 0], [10, 0, 3, 0], [0, 10, 0, 5]])
    part = torch.arange(3 * per_blob) % 3
    return (centres[part] + 0.4 * torch.randn(len(part), 4, generator=generator))[None], part


def agreement(a, b):
    return adjusted_rand_score(a.flatten().numpy(), b.flatten().numpy())


def test_two_blocks_have_the_eigenvalues_worked_out_by_hand():
    blocks = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)).double()
    matrix, degree = normalized_affinity(blocks)
    assert degree.tolist() == [4, 4, 4, 3, 3]
    expected = [0.875, 2.5 / 3, 1 / 6, 1 / 8, 1 / 8]
    assert torch.linalg.eigvalsh(matrix).flip(0).tolist() == pytest.approx(expected)
    for init_row in ("middle", "max_degree"):
        (labels,) = cut_affinity(blocks, [2], init_row=init_row)
        assert agreement(labels, torch.tensor([0, 0, 0, 1, 1])) == 1


@pytest.mark.parametrize(("affinity", "reach"), [("gaussian", 0.18585), ("laplace", 0.3454)])
def test_affinities_end_at_the_distance_worked_out_by_hand(affinity, reach):
    places = torch.tensor([0, 1, reach - 1e-4, 1 - reach - 1e-4]).double()[:, None]
    similarity = affinity_matrix(places * 7 + 3, affinity=affinity)
    assert similarity[0, 2] > 1e-6
    assert similarity[1, 3] == 0
    half = math.exp(-100) if affinity == "gaussian" else math.exp(-20)
    middle = affinity_matrix(torch.tensor([[0.0], [1], [0.5], [0.55]]), affinity=affinity)
    assert float(middle[2, 3]) == pytest.approx(math.exp(-1) if affinity == "gaussian" else math.exp(-2), rel=1e-5)
    assert half < 1e-6
    assert middle[0, 2] == 0


@pytest.mark.parametrize("affinity", ["gaussian", "laplace"])
def test_affinities_are_symmetric_between_0_and_1_and_blind_to_scale_and_shift(real_like_map, affinity):
    features, weights = real_like_map(12, 15)
    similarity = affinity_matrix(features[0], weights, affinity=affinity)
    assert torch.equal(similarity, similarity.T)
    assert torch.equal(similarity.diagonal(), torch.ones(180, dtype=torch.float64))
    assert 0 <= float(similarity.min()) <= float(similarity.max()) <= 1
    moved = affinity_matrix(3 * features[0].double() + torch.tensor([1, -5, 2, 40]), weights, affinity=affinity)
    torch.testing.assert_close(moved, similarity)


def test_weights_count_by_their_share():
    features = torch.tensor([[0.0, 0], [2, 0], [0, 0.1], [2, 1]])
    stretched = features * torch.tensor([0.75, 0.25]).sqrt()
    torch.testing.assert_close(affinity_matrix(features, torch.tensor([6, 2])), affinity_matrix(stretched))


def test_places_multiply_affinities():
    features, places = torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0)).double()
    distance = torch.cdist(places, places)
    plain = affinity_matrix(features)
    expected = plain * torch.exp(-((distance / 0.8) ** 2))
    together = affinity_matrix(features, spatial=(places, 0.8))
    torch.testing.assert_close(together[together > 0], expected[together > 0])
    assert bool((expected[together == 0] < 1.1e-6).all())


@pytest.mark.parametrize("solver", ["filtered", "exact"])
def test_clouds_are_found_in_any_order(solver):
    features, part = blobs()
    for seed in range(4):
        order = torch.randperm(240, generator=torch.Generator().manual_seed(seed))
        (labels,) = normalized_cut(features[:, order], None, [3], solver=solver)
        assert agreement(labels, part[order]) == 1


def test_permuting_cells_permutes_labels(real_like_map):
    features, weights = real_like_map(16, 20)
    order = torch.randperm(320, generator=torch.Generator().manual_seed(0))
    for a, b in zip(
        normalized_cut(features, weights, [5, 20], init_row="max_degree"),
        normalized_cut(features[:, order], weights, [5, 20], init_row="max_degree"),
        strict=True,
    ):
        assert torch.equal(a[:, order], b)


@pytest.mark.parametrize("solver", ["filtered", "exact"])
def test_cells_of_equal_features_get_one_label(real_like_map, solver):
    features, weights = real_like_map(10, 12)
    copies = torch.cat([features, features.flip(1), features], 1)
    for labels in normalized_cut(copies, weights, [5, 20], solver=solver):
        first = labels[:, :120]
        assert torch.equal(labels, torch.cat([first, first.flip(1), first], 1))


def test_labels_do_not_change_with_the_scale_of_the_features(real_like_map):
    features, weights = real_like_map(14, 16)
    expected = normalized_cut(features, weights, [5, 20])
    for factor in (2.0**-90, 2.0**60):
        scaled = normalized_cut(features * factor, weights, [5, 20])
        assert all(torch.equal(a, b) for a, b in zip(expected, scaled, strict=True))


@pytest.mark.parametrize("solver", ["filtered", "exact"])
def test_every_number_of_clusters_partitions_the_cells(real_like_map, solver):
    features, weights = real_like_map(14, 16)
    for count, labels in zip((1, 2, 7), normalized_cut(features, weights, [1, 2, 7], solver=solver), strict=True):
        assert labels.shape == (1, 224)
        assert labels.dtype == torch.int64
        assert 0 <= int(labels.min()) <= int(labels.max()) < count
        assert len(labels.unique()) == count


def test_few_cells_get_a_cluster_each_at_most():
    features = torch.tensor([[[0.0], [1], [5]]])
    (labels,) = normalized_cut(features, None, [20])
    assert sorted(labels[0].tolist()) == [0, 1, 2]
    (labels,) = normalized_cut(features[:, :1], None, [20])
    assert labels.tolist() == [[0]]


def test_almost_as_many_clusters_as_cells_are_cut():
    features = torch.rand(1, 201, 2, generator=torch.Generator().manual_seed(0))
    for count, labels in zip((190, 201, 300), normalized_cut(features, None, [190, 201, 300]), strict=True):
        assert 100 < len(labels.unique()) <= min(count, 201)


@pytest.mark.parametrize("cells", [7, 300])
def test_a_flat_map_is_one_cluster(cells):
    for clusters in ([5], [5, 20]):
        for labels in normalized_cut(torch.full((2, cells, 4), 3.7), torch.ones(4), clusters):
            assert not labels.any()


@pytest.mark.parametrize("solver", ["filtered", "exact"])
def test_a_picture_of_three_colours_has_three_clusters(solver):
    colours = torch.tensor([[0.0, 0, 255], [255, 255, 255], [0, 130, 0]])
    part = torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(0))
    for labels in normalized_cut(colours[part][None], None, [3, 5], solver=solver):
        assert agreement(labels, part) == 1


@pytest.mark.parametrize("solver", ["filtered", "exact"])
def test_an_image_gets_the_same_labels_alone_in_a_batch_and_padded(real_like_map, solver):
    (small, weights), (large, _) = real_like_map(13, 14), real_like_map(15, 16, 1)
    flat = torch.ones(1, 240, 4)
    padded = torch.full((1, 240, 4), torch.nan)
    kept = torch.arange(240) >= 58
    padded[:, kept] = small
    mask = torch.stack([kept, torch.ones(240, dtype=torch.bool), torch.arange(240) < 3, torch.zeros(240).bool()])
    batch = normalized_cut(torch.cat([padded, large, flat, flat]), weights, [5, 20], mask=mask, solver=solver)
    alone = (
        normalized_cut(small, weights, [5, 20], solver=solver),
        normalized_cut(large, weights, [5, 20], solver=solver),
    )
    for together, a, b in zip(batch, *alone, strict=True):
        assert torch.equal(together[0, kept], a[0])
        assert torch.equal(together[1], b[0])
        assert together[2, :3].tolist() == [0, 0, 0]
        assert bool((together[~mask] == -1).all())


def test_a_whole_batch_at_once_is_cut_as_its_images_alone(real_like_map, monkeypatch):
    # What a GPU does, padding inside.
    from retrieval_bench.nn import ncut

    weights = real_like_map(16, 20)[1]
    features = torch.cat([real_like_map(16, 20, seed)[0] for seed in range(3)])
    live = torch.ones(3, 320, dtype=torch.bool)
    live[1, ::5] = False
    rule = ncut._Rule([3, 8], "gaussian", "middle")
    batch = ncut._filtered_cut(Cells.of(features, weights, live, None), rule)
    for labels, together in zip(normalized_cut(features, weights, [3, 8], mask=live), batch, strict=True):
        for i in range(3):
            assert agreement(labels[i, live[i]], together[i, live[i]]) > 0.98


def ncut_9(features, weights, count):
    """Ncut_9 and its discretisation to the letter, in plain loops over the dense matrix."""
    points = features * np.sqrt(weights / weights.sum())
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    similarity = np.exp(-((distance / (0.05 * distance.max())) ** 2))
    similarity[similarity < 1e-6] = 0
    degree = similarity.sum(1) + 2 * 0.5
    root = np.diag(degree**-0.5)
    vectors = root @ np.linalg.eigh(root @ (similarity + 0.5 * np.eye(len(points))) @ root)[1][:, ::-1][:, :count]
    vectors *= np.sqrt(len(points)) / np.linalg.norm(vectors, axis=0)
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    turn, overlap = np.zeros((count, count)), np.zeros(len(rows))
    turn[:, 0] = rows[len(rows) // 2]
    for k in range(1, count):
        overlap += np.abs(rows @ turn[:, k - 1])
        turn[:, k] = rows[overlap.argmin()]
    before = 0.0
    for _ in range(20):
        labels = (rows @ turn).argmax(1)
        left, scale, right = np.linalg.svd(np.eye(count)[labels].T @ rows)
        objective = 2 * (len(rows) - scale.sum())
        if abs(objective - before) < 2.2e-16:
            break
        before, turn = objective, right.T @ left.T
    return torch.from_numpy(labels)


@pytest.mark.parametrize("count", [5, 20])
def test_the_exact_way_is_ncut_9_to_the_letter(real_like_map, count):
    # Ordinary maps: in others some rows of the eigenvectors are so short that the letter divides 0 by 0.
    for seed in range(2):
        features, weights = real_like_map(14, 16, seed)
        (labels,) = normalized_cut(features, weights, [count], solver="exact")
        assert agreement(labels, ncut_9(features[0].double().numpy(), weights.numpy(), count)) == 1


@pytest.mark.parametrize("affinity", ["gaussian", "laplace"])
def test_the_fast_way_agrees_with_the_exact_one(real_like_map, affinity):
    found = []
    for seed in range(3):
        features, weights = real_like_map(18, 24, seed)
        fast, exact = (
            normalized_cut(features, weights, [5, 20], affinity=affinity, solver=solver)
            for solver in ("filtered", "exact")
        )
        found.append([agreement(a, b) for a, b in zip(fast, exact, strict=True)])
    five, twenty = np.mean(found, axis=0)
    assert five > 0.999
    assert twenty > 0.99


def test_the_fast_way_knows_places(real_like_map):
    features, weights = real_like_map(14, 16)
    places = torch.stack(torch.meshgrid(torch.arange(14.0), torch.arange(16.0), indexing="ij"), -1).view(1, -1, 2)
    fast, exact, without = (
        normalized_cut(features, weights, [5], spatial=spatial, solver=solver)[0]
        for spatial, solver in (((places, 6.0), "filtered"), ((places, 6.0), "exact"), (None, "exact"))
    )
    assert agreement(fast, exact) > 0.98
    assert agreement(without, exact) < 0.9


@pytest.mark.parametrize("count", [10, 41])
def test_isolated_cells_are_told_apart(count):
    # Forty cells beyond the reach of all others share one eigenvalue; the other 400 are one smooth patch.
    patch = torch.zeros(400, 40)
    patch[:, :2] = 0.05 * torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    features = torch.cat([patch, torch.eye(40)])[None]
    assert bool((affinity_matrix(features[0])[400:].sum(1) == 1).all())
    (fast,) = normalized_cut(features, None, [count])
    # The patch is one eigenvector, and of the isolated cells each is one, of which there are too many for ten.
    assert len(fast[0, :400].unique()) == 1
    told_apart = fast[0, 400:][fast[0, 400:] != fast[0, 0]]
    assert len(told_apart) == len(told_apart.unique()) == min(count - 1, 40)


def test_wrong_options_are_refused_in_one_line():
    features = torch.rand(1, 4, 2)
    for kwargs, message in (
        ({"affinity": "cosine"}, "unknown affinity 'cosine'; known are gaussian, laplace"),
        ({"init_row": "random"}, "unknown init_row"),
        ({"solver": "arpack"}, "unknown solver"),
        ({"mask": torch.ones(1, 5, dtype=torch.bool)}, "mask"),
        ({"spatial": (torch.rand(1, 4, 2), 0.0)}, "scale greater than 0"),
    ):
        with pytest.raises(OptionError, match=message):
            normalized_cut(features, None, [2], **kwargs)
    for weights, clusters in ((torch.ones(3), [2]), (torch.zeros(2), [2]), (torch.ones(2), [0]), (torch.ones(2), [])):
        with pytest.raises(OptionError):
            normalized_cut(features, weights, clusters)


@pytest.mark.data
def test_the_fast_way_agrees_with_the_exact_one_on_a_real_map(shared):
    from PIL import Image

    from retrieval_bench.nn.backbones import Backbone
    from retrieval_bench.nn.preprocessing import normalize

    network = Backbone("mobilenet_v2", ["last"], weights=str(shared / "weights" / "mobilenet_v2-imagenet.pth")).eval()
    path = min((shared / "sets" / "landmarks_5" / "jpg").glob("*.jpg"))
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB").resize((640, 480)))).permute(2, 0, 1)[None]
    with torch.no_grad():
        x = network(normalize(pixels, "torchvision"))["last"].flatten(2).mT.double()
    x = x - x.mean(1, keepdim=True)
    _, scale, directions = torch.linalg.svd(x[0], full_matrices=False)
    features, weights = x @ directions[:4].T, scale[:4] ** 2
    fast, exact = (normalized_cut(features, weights, [5, 20], solver=solver) for solver in ("filtered", "exact"))
    assert features.shape[1] == 15 * 20
    assert agreement(fast[0], exact[0]) > 0.98
    assert agreement(fast[1], exact[1]) > 0.9
