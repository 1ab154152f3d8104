import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval import refinement
from retrieval_bench.retrieval.kmeans import kmeans
from retrieval_bench.retrieval.refinement import bfr, cbr, check_refinement, pbr, refine


def points(n: int = 60, d: int = 5) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def slow_bfr(x: torch.Tensor, count: int) -> torch.Tensor:
    rows, count = [], min(count, len(x) - 1)
    for i, own in enumerate(x):
        distance = (x - own).square().sum(1)
        distance[i] = torch.inf
        rows.append(x[[i, *distance.argsort()[:count].tolist()]].mean(0))
    return torch.stack(rows)


def test_three_points_on_a_line():
    assert bfr(torch.tensor([[0.0], [1], [3]]), 1).tolist() == [[0.5], [0.5], [2]]


def test_the_running_list_finds_what_sorting_all_distances_finds(monkeypatch):
    monkeypatch.setattr(refinement, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(refinement, "_COLUMNS_AT_ONCE", 11)
    x = points()
    torch.testing.assert_close(bfr(x, 4), slow_bfr(x, 4))


def test_no_neighbours_change_nothing():
    x = points()
    assert torch.equal(bfr(x, 0), x)
    assert torch.equal(bfr(x[:1], 5), x[:1])


def test_with_all_others_everything_becomes_the_mean():
    x = points(9)
    torch.testing.assert_close(bfr(x, 100), x.mean(0).expand(9, -1))


def test_one_cluster_is_no_partition():
    x = points()
    torch.testing.assert_close(pbr(x, torch.zeros(60, dtype=torch.int64), 6), bfr(x, 6))
    torch.testing.assert_close(refine(x, "pbr", neighbours=6, clusters=1), refine(x, "bfr", neighbours=6))


def test_neighbours_come_from_the_own_cluster_and_there_may_be_fewer():
    x, owner = points(), torch.arange(60) % 7
    refined = pbr(x, owner, 20)
    for cluster in range(7):
        torch.testing.assert_close(refined[owner == cluster], slow_bfr(x[owner == cluster], 20))


def test_points_that_are_clusters_of_their_own_stay():
    x = points(12)
    centres, owner = kmeans(x, 12)
    assert torch.equal(pbr(x, owner, 50), x)
    torch.testing.assert_close(cbr(x, centres, owner), x)


def test_the_middle_between_a_point_and_its_centre():
    x, centres = torch.tensor([[0.0, 0], [4, 0]]), torch.tensor([[9.0, 9], [2, 0]])
    assert cbr(x, centres, torch.tensor([1, 1])).tolist() == [[1, 0], [3, 0]]


@pytest.mark.parametrize("kind", ["none", "bfr", "pbr", "cbr"])
def test_equal_features_stay(kind):
    x = points(1).expand(30, -1).contiguous()
    torch.testing.assert_close(refine(x, kind, clusters=4), x)


def test_the_papers_neighbours_are_the_default():
    x = points(200)
    assert torch.equal(refine(x, "bfr"), bfr(x, 10))
    assert torch.equal(refine(x, "pbr", clusters=2), pbr(x, kmeans(x, 2)[1], 50))


def test_an_unknown_refinement_is_refused():
    with pytest.raises(OptionError, match="unknown refinement 'bbr'; known are none, bfr, pbr, cbr"):
        check_refinement("bbr")
