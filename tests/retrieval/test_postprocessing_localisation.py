"""Re-ranking by localisation on made up maps, alone and with query expansion behind it."""

import numpy as np
import pytest
import torch
from postprocessing_cases import MadeUpSources, order, take, unit
from torch.nn.functional import normalize

from retrieval_bench.retrieval.postprocessing import (
    DatabaseAugmentation,
    Diffusion,
    LocalisationReranking,
    QueryExpansion,
    References,
    WhitenByPCA,
)

CHANNELS = 6
QUERIES, IMAGES = 3, 12
SIZE = (12, 15)


@pytest.fixture
def scene():
    """Queries are small maps; every other image holds the first one, among clutter that hides it from the maximum."""
    generator = torch.Generator().manual_seed(0)
    maps = {}
    for i in range(QUERIES):
        maps[i] = torch.rand(CHANNELS, 6, 6, generator=generator)
        maps[i][i] += 3
    for j in range(IMAGES):
        cells = torch.rand(CHANNELS, *SIZE, generator=generator)
        cells[:, 0] += 4 * torch.rand(CHANNELS, 1, generator=generator)
        if j % 2:
            cells[:, 4:10, 6:12] = maps[0]
        maps[QUERIES + j] = cells
    vectors = normalize(torch.stack([m.amax((1, 2)) for m in maps.values()]), dim=1)
    return MadeUpSources(maps), vectors[:QUERIES], vectors[QUERIES:]


def test_images_that_hold_the_query_come_first_in_windows_on_it(scene):
    sources, query, gallery = scene
    state, notes = take([LocalisationReranking()], query, gallery, sources)
    assert set(order(state)[0, :6]) == {1, 3, 5, 7, 9, 11}
    assert set(order(take([], query, gallery)[0])[0, :6]) != {1, 3, 5, 7, 9, 11}
    planted = torch.tensor([6 / 15, 4 / 12, 12 / 15, 10 / 12])
    for box in state.windows.boxes[0, :6]:
        width, height = (torch.minimum(box, planted)[2:] - torch.maximum(box, planted)[:2]).tolist()
        assert width * height > 0.3 * (6 / 15 * 6 / 12)
    assert notes == ("re-ranking of the first 1,000 by localisation, learned from no data",)


def test_windows_are_ranked_by_their_descriptors(scene):
    sources, query, gallery = scene
    state, _ = take([LocalisationReranking()], query, gallery, sources)
    for i, places in enumerate(order(state)):
        scores = []
        for place, box in zip(places, state.windows.boxes[i], strict=True):
            cells = sources.pictures[QUERIES + int(place)]
            size = torch.tensor([15, 12, 15, 12])
            x1, y1, x2, y2 = (box * size).round().long().tolist()
            scores.append(float(normalize(cells[:, y1:y2, x1:x2].amax((1, 2)), dim=0) @ query[i]))
        assert scores == sorted(scores, reverse=True)


def test_only_the_first_are_looked_at_and_moved(scene):
    sources, query, gallery = scene
    plain = order(take([], query, gallery)[0])
    sources.asked.clear()
    state, _ = take([LocalisationReranking(top=4)], query, gallery, sources)
    found = order(state)
    np.testing.assert_array_equal(found[:, 4:], plain[:, 4:])
    np.testing.assert_array_equal(np.sort(found[:, :4]), np.sort(plain[:, :4]))
    assert sources.asked == [0, 1, 2, *sorted({QUERIES + int(x) for x in plain[:, :4].ravel()})]


def test_expansion_behind_localisation_averages_windows_and_ranks_them_alone(scene):
    sources, query, gallery = scene
    located, _ = take([LocalisationReranking(top=5)], query, gallery, sources)
    state, _ = take([LocalisationReranking(top=5), QueryExpansion(2)], query, gallery, sources)
    for i in range(QUERIES):
        mean = normalize(query[i] + located.windows.data[i, :2].sum(0), dim=0)
        torch.testing.assert_close(state.windows.query[i], mean)
        score = (located.windows.data[i] @ mean).numpy()
        by_score = np.argsort(-score, kind="stable")
        np.testing.assert_array_equal(order(state)[i, :5], order(located)[i, :5][by_score])
        torch.testing.assert_close(state.windows.data[i], located.windows.data[i, by_score])
        torch.testing.assert_close(state.windows.boxes[i], located.windows.boxes[i, by_score])
    np.testing.assert_array_equal(order(state)[:, 5:], order(located)[:, 5:])
    assert torch.equal(state.query.data, query)  # the images behind keep their order


@pytest.mark.parametrize("n", [1, 4, 40])
def test_expansion_by_windows_that_equal_the_query_leaves_the_ranking(n):
    cells = torch.rand(CHANNELS, 4, 4, generator=torch.Generator().manual_seed(1))
    vector = normalize(cells.amax((1, 2))[None], dim=1)
    others = torch.rand(3, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(2))
    maps = dict(enumerate([cells, *([cells] * n), *others]))
    gallery = normalize(torch.stack([m.amax((1, 2)) for m in list(maps.values())[1:]]), dim=1)
    steps = [LocalisationReranking(), QueryExpansion(n)]
    located, expanded = (take(s, vector, gallery, MadeUpSources(maps))[0] for s in (steps[:1], steps))
    np.testing.assert_array_equal(order(located), order(expanded))
    assert order(located)[0][:n].tolist() == list(range(n))


def test_windows_are_whitened_as_descriptors_were(scene):
    sources, query, gallery = scene
    sources.given = References(torch.cat([query, gallery]), torch.zeros(QUERIES + IMAGES, dtype=torch.int64))
    state, _ = take([WhitenByPCA(3), LocalisationReranking()], query, gallery, sources)
    (whitening,) = state.whitened_by
    assert state.windows.data.shape == (QUERIES, IMAGES, 3)
    bare, _ = take([LocalisationReranking()], query, gallery, sources)
    where = np.argsort(order(bare)[0])
    for place, window in zip(order(state)[0], state.windows.data[0], strict=True):
        torch.testing.assert_close(window, whitening(bare.windows.data[0, where[place]]))


def test_the_power_means_find_about_the_same(scene):
    sources, query, gallery = scene
    exact, power = (take([LocalisationReranking(aml=a)], query, gallery, sources)[0] for a in ("exact", "power10"))
    assert set(order(power)[0][:6]) == set(order(exact)[0][:6])


def test_other_ranking_steps_forget_the_windows(scene):
    sources, query, gallery = scene
    state, _ = take([LocalisationReranking(top=6), Diffusion(k=3), QueryExpansion(2)], query, gallery, sources)
    assert state.windows is None
    assert state.first is None
    with pytest.raises(ValueError, match="before the steps of postprocessing that rank"):
        take([LocalisationReranking(top=6), DatabaseAugmentation()], query, gallery, sources)


def test_windows_of_another_length_are_refused(scene):
    sources, query, gallery = scene
    sources.describe_windows = lambda picture, windows: unit([1, 0]).repeat(len(windows), 1)
    with pytest.raises(ValueError, match="windows have descriptors of length 2, but pictures of length 6"):
        take([LocalisationReranking()], query, gallery, sources)


@pytest.mark.parametrize("options", [{"top": 0}, {"step": 0}, {"tolerance": 0.9}, {"aml": "approximate"}])
def test_options_with_none_of_their_values_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LocalisationReranking(**options)
