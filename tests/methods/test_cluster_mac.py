"""ClusterMAC: its limits, its regions by hand and by loops, colours, the local PCA, windows."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from retrieval_bench.methods import RMAC, ClusterMAC, GlobalPooling
from retrieval_bench.methods.cluster_mac import LocalPCA, _some_columns
from retrieval_bench.nn import preprocessing
from retrieval_bench.retrieval.whitening import Moments

TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride4"}  # 64 channels


def cluster_mac(**options) -> ClusterMAC:
    return ClusterMAC(**TRUNK, **{"whiten": False, **options})


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(height: int = 6, width: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """A map of three kinds of cells, far from each other in the first four channels, and the kind of each cell."""
    kind = torch.arange(height * width) % 3
    centre = torch.zeros(3, 64)
    centre[torch.arange(3), torch.arange(3)] = 10
    columns = centre[kind] + 0.1 * random(height * width, 64)
    return columns.T.reshape(1, 64, height, width), kind.view(height, width)


def test_one_cluster_is_mac():
    maps = random(3, 64, 5, 6)
    one, mac = cluster_mac(clusters=[1], rgb_clusters=0), GlobalPooling("mac", **TRUNK, whiten=False)
    torch.testing.assert_close(one.describe(maps), mac.describe(maps))
    white, white_mac = ClusterMAC(**TRUNK, clusters=[1], rgb_clusters=0), GlobalPooling("mac", **TRUNK)
    for method in (white, white_mac):
        method.whitening.fit(normalize(random(200, 64, seed=1), dim=1))
    torch.testing.assert_close(white.describe(maps), white_mac.describe(maps))
    assert not torch.allclose(white.describe(maps), one.describe(maps), atol=1e-2)


def test_a_descriptor_by_hand():
    # Two channels beside 62 silent ones, cells of three kinds: (3, 4), (0, 2), (5, 0).
    maps = torch.zeros(1, 64, 2, 3)
    maps[0, 0] = torch.tensor([[3.0, 0, 5], [5, 3, 0]])
    maps[0, 1] = torch.tensor([[4.0, 2, 0], [0, 4, 2]])
    found = cluster_mac(clusters=[3], components=2, rgb_clusters=0).describe(maps)[0]
    expected = torch.tensor([0.6 + 0 + 1, 0.8 + 1 + 0]) / (1.6**2 + 1.8**2) ** 0.5
    torch.testing.assert_close(found[:2], expected)
    assert not found[2:].any()


def test_kinds_of_cells_are_clusters():
    maps, kind = blobs()
    for scope in ("dataset", "image"):
        regions = cluster_mac(clusters=[3], rgb_clusters=0, pca_scope=scope).region_vectors(maps, None)
        assert regions.present.all()
        expected = torch.stack([maps[0][:, kind == k].amax(1) for k in range(3)])
        found = regions.vectors[0][regions.vectors[0, :, :3].argmax(1).argsort()]
        assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [(6, 9), (4, 5), (1, 7), (1, 1)])
def test_every_cell_is_in_one_cluster_of_each_cut_and_their_maxima_are_mac(size):
    method, image = cluster_mac(), random(2, 3, 4 * size[0], 4 * size[1])
    labels = method.cluster_maps(image)
    assert list(labels) == ["features 5", "features 20", "colours 5"]
    maps = method.maps({"image": image})
    regions = method.region_vectors(maps, method.colours(image, size))
    first = 0
    for k, (name, label) in zip((5, 20, 5), labels.items(), strict=True):
        assert label.shape == (2, *size)
        assert int(label.min()) >= 0
        assert int(label.max()) < k
        vectors, present = regions.vectors[:, first : first + k], regions.present[:, first : first + k]
        for i in range(2):
            assert present[i].nonzero()[:, 0].tolist() == label[i].unique().tolist(), name
            assert torch.equal(vectors[i][present[i]].amax(0), maps[i].amax((1, 2)))
        first += k


def test_a_flat_map_of_one_colour_is_one_region():
    method = cluster_mac()
    maps = torch.full((1, 64, 4, 5), 2.0)
    image = preprocessing.normalize(torch.full((1, 3, 16, 20), 77, dtype=torch.uint8), "torchvision")
    regions = method.region_vectors(maps, method.colours(image, (4, 5)))
    assert regions.present.sum() == 3  # one of each cut; the other clusters are empty and count for nothing
    torch.testing.assert_close(method.describe(maps, method.colours(image, (4, 5))), torch.full((1, 64), 1 / 8))


def test_the_order_of_cells_does_not_matter():
    method = cluster_mac(clusters=[3], rgb_clusters=3, init_row="max_degree")
    maps, _ = blobs()
    colours = 255 * (maps[:, :3] > 5).float()
    order = torch.randperm(54, generator=torch.Generator().manual_seed(0))
    shuffled = [x.flatten(2)[..., order].view_as(x) for x in (maps, colours)]
    torch.testing.assert_close(method.describe(*shuffled), method.describe(maps, colours))


def test_cells_that_are_equal_are_in_one_cluster():
    maps = random(1, 64, 3, 8)
    maps = torch.cat([maps, maps.flip(3)], 2)  # every cell twice
    method = cluster_mac(clusters=[4], rgb_clusters=0)
    labels = method._cluster(maps.flatten(2).transpose(1, 2), None, torch.zeros(48, 2))[0].view(6, 8)
    assert torch.equal(labels[:3], labels[3:].flip(1))
    assert len(labels.unique()) == 4


@pytest.mark.parametrize("options", [{}, {"pca_scope": "image"}, {"affinity": "laplace"}, {"spatial_affinity": 3.0}])
def test_the_scale_of_activations_does_not_matter(options):
    method = cluster_mac(rgb_clusters=0, **options)
    maps = random(2, 64, 6, 9)
    torch.testing.assert_close(method.describe(4 * maps), method.describe(maps))


@pytest.mark.parametrize("family", ["torchvision", "caffe"])
def test_colours_are_the_pictures_at_the_size_of_the_map(family):
    method = cluster_mac(clusters=[], rgb_clusters=2)
    method.preprocessing = preprocessing.Preprocessing(64, family=family)
    picture = torch.zeros(1, 3, 24, 32, dtype=torch.uint8)
    picture[:, 0, :, :16], picture[:, 2, :, 16:] = 200, 90  # red to the left, blue to the right
    colours = method.colours(preprocessing.normalize(picture, family), (3, 4))
    assert torch.equal(colours[0, :, 0, 0], torch.tensor([200.0, 0, 0]))
    assert torch.equal(colours[0, :, 2, 3], torch.tensor([0, 0, 90.0]))
    maps = random(1, 64, 3, 4)
    regions = method.region_vectors(maps, colours).vectors[0]
    halves = torch.stack([maps[0, ..., :2].amax((1, 2)), maps[0, ..., 2:].amax((1, 2))])
    assert torch.equal(regions, halves) or torch.equal(regions, halves.flip(0))


def test_colours_need_the_picture():
    method, maps = cluster_mac(), random(64, 3, 4)
    with pytest.raises(ValueError, match="clusters of colours need the picture"):
        method.describe_windows(maps, torch.tensor([[0, 0, 2, 2]]))


def test_near_cells_belong_together_where_places_count():
    # Three columns of one kind, three of another, three of the first again.
    maps = torch.zeros(1, 64, 6, 9)
    maps[0, 0, :, :3] = maps[0, 1, :, 3:6] = maps[0, 0, :, 6:] = 10
    maps += 0.1 * random(1, 64, 6, 9)
    blocks = (torch.arange(9) // 3).expand(6, 9)
    for clusters, places, expected in ((2, None, blocks % 2), (3, 1.0, blocks)):
        method = cluster_mac(clusters=[clusters], rgb_clusters=0, spatial_affinity=places)
        regions = method.region_vectors(maps, None)
        parts = torch.stack([maps[0][:, expected == k].amax(1) for k in expected.unique()])
        order = [int((parts == vector).all(1).nonzero()) for vector in regions.vectors[0]]
        assert sorted(order) == list(range(clusters))


def test_distances_after_the_local_pca_weigh_directions_by_their_shares_of_the_variance():
    columns = random(500, 64).double() * torch.linspace(1, 3, 64)
    pca = LocalPCA(64, 4)
    pca.fit(Moments(64).add(columns))
    values = columns.numpy()
    variance, direction = np.linalg.eigh(np.cov(values.T, bias=True))
    variance, direction = variance[::-1][:4], direction[:, ::-1][:, :4]
    projected = (values[:2] - values.mean(0)) @ direction
    expected = np.sqrt((variance / variance.sum() * (projected[0] - projected[1]) ** 2).sum())
    assert float((pca(columns[0]) - pca(columns[1])).norm()) == pytest.approx(expected)


def test_columns_are_drawn_by_picture_and_not_by_batch():
    maps, index = random(3, 64, 20, 30), torch.tensor([4, 11, 2])
    together = _some_columns({"index": index}, maps)
    assert together.shape == (3 * 256, 64)
    alone = _some_columns({"index": index[1:2]}, maps[1:2])
    assert torch.equal(together[256:512], alone)
    assert len(alone.unique(dim=0)) == 256
    assert torch.equal(alone, _some_columns({"index": index[1:2]}, maps[1:2]))
    assert not torch.equal(alone, _some_columns({"index": index[:1]}, maps[1:2]))
    few = _some_columns({"index": index}, maps[..., :5, :5])
    assert few.shape == (3 * 25, 64)


WINDOWS = torch.tensor([[0, 0, 12, 9], [2, 1, 9, 6], [5, 5, 6, 6], [0, 7, 12, 9]])


def test_windows_are_clustered_anew():
    method, image = cluster_mac(), random(1, 3, 36, 48)
    maps, colours = method.maps({"image": image}), method.colours(image, (9, 12))
    found = method.describe_windows(maps[0], WINDOWS, image[0])
    for one, (x1, y1, x2, y2) in zip(found, WINDOWS.tolist(), strict=True):
        expected = method.describe(maps[..., y1:y2, x1:x2], colours[..., y1:y2, x1:x2])[0]
        torch.testing.assert_close(one, expected)


def test_windows_may_be_parts_of_the_maps_own_clusters():
    method, image = cluster_mac(rerank_regions="restrict"), random(1, 3, 36, 48)
    maps = method.maps({"image": image})
    found = method.describe_windows(maps[0], WINDOWS, image[0])
    for one, (x1, y1, x2, y2) in zip(found, WINDOWS.tolist(), strict=True):
        total = torch.zeros(64)
        for label in method.cluster_maps(image).values():
            inside, cells = label[0, y1:y2, x1:x2], maps[0, :, y1:y2, x1:x2]
            for k in inside.unique():
                total += normalize(cells[:, inside == k].amax(1), dim=0)
        torch.testing.assert_close(one, normalize(total, dim=0))


def test_windows_may_be_described_by_squares():
    method, rmac = cluster_mac(rerank_regions="rmac"), RMAC(**TRUNK, whiten=False)
    maps = random(64, 9, 12)
    torch.testing.assert_close(method.describe_windows(maps, WINDOWS), rmac.describe_windows(maps, WINDOWS))


def test_norms_are_the_lengths_of_columns():
    method, image = cluster_mac(), random(1, 3, 24, 32)
    maps = method.maps({"image": image})
    norms = method.norm_map(image)
    assert norms.shape == (1, 6, 8)
    assert float(norms[0, 2, 3]) == pytest.approx(float(sum(x**2 for x in maps[0, :, 2, 3])) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pca_scope": "city"}, "pca_scope cannot be 'city'; it is one of dataset, image"),
        ({"affinity": "cosine"}, "affinity cannot be 'cosine'; it is one of gaussian, laplace"),
        ({"init_row": "random"}, "init_row cannot be 'random'; it is one of middle, max_degree"),
        ({"rerank_regions": "all"}, "rerank_regions cannot be 'all'; it is one of recluster, restrict, rmac"),
        ({"components": 65}, "components must be 1 to 64, the channels of the map, not 65"),
        ({"clusters": [], "rgb_clusters": 0}, "give at least one number of regions"),
        ({"clusters": [0, 5]}, "give at least one number of regions, each at least 1"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        cluster_mac(**options)
