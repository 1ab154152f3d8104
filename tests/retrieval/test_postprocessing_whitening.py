"""Whitening as a step: what it learns from, what it reads, and that queries, gallery and references go one way."""

import numpy as np
import pytest
import torch
from postprocessing_cases import MadeUpSources, clustered, take
from torch.nn.functional import normalize

from retrieval_bench.retrieval import whitening
from retrieval_bench.retrieval.postprocessing import QueryExpansion, References, WhitenByPairs, WhitenByPCA

DATA = clustered(60, 6, 5)
LABEL = torch.arange(60) % 7 - 1  # some show nothing known


@pytest.fixture
def sources():
    return MadeUpSources(references=References(DATA, LABEL))


def test_all_descriptors_are_whitened_by_what_the_references_taught(sources):
    query, gallery = clustered(4, 6, 3, seed=1), clustered(20, 6, 3, seed=2)
    state, notes = take([WhitenByPCA(4)], query, gallery, sources)
    expected = whitening.PCAWhitening(6, 4).fit(DATA)
    torch.testing.assert_close(state.query.data, expected(query))
    torch.testing.assert_close(state.gallery.data, expected(gallery))
    assert notes == ("PCA whitening to 4 directions, learned from made up pictures",)


def test_a_second_whitening_learns_from_whitened_references(sources):
    query, gallery = clustered(4, 6, 3, seed=1), clustered(20, 6, 3, seed=2)
    state, notes = take([WhitenByPCA(4), WhitenByPairs(3)], query, gallery, sources)
    first, second = state.whitened_by
    assert (first.projection.shape, second.projection.shape) == ((4, 6), (3, 4))
    torch.testing.assert_close(state.gallery.data, second(first(gallery)))
    torch.testing.assert_close(state.whiten(gallery), state.gallery.data)
    assert notes[1] == "learned whitening to 3 directions, learned from pairs of one label among made up pictures"


def test_pairs_are_neighbours_of_one_label(sources):
    state, _ = take([WhitenByPairs()], DATA[:3], DATA[3:], sources)
    one, other = [], []
    for label in range(6):
        rows = [i for i in range(60) if LABEL[i] == label]
        one += rows
        other += [*rows[1:], rows[0]]
    expected = whitening.LearnedWhitening(6).fit(DATA[one], DATA[other], DATA)
    torch.testing.assert_close(state.query.data, expected(DATA[:3]))


def test_pictures_without_a_partner_form_no_pair():
    sources = MadeUpSources(references=References(DATA[:6], torch.tensor([0, 1, 2, -1, -1, 3])))
    with pytest.raises(ValueError, match="no two of made up pictures have the same label"):
        take([WhitenByPairs()], DATA[:3], DATA[3:], sources)


@pytest.mark.parametrize(("names", "shape"), [(("mean", "projection"), (6,)), (("m", "P"), (6, 1))])
def test_a_whitening_is_read_from_a_file(tmp_path, names, shape):
    rng = np.random.default_rng(0)
    mean, projection = rng.normal(size=shape), rng.normal(size=(5, 6))
    np.savez(tmp_path / "mine.npz", **{names[0]: mean, names[1]: projection})
    state, notes = take([WhitenByPairs(3, str(tmp_path / "mine.npz"))], DATA[:3], DATA[3:])
    by_hand = (DATA[3:].double() - torch.from_numpy(mean.ravel())) @ torch.from_numpy(projection[:3]).T
    torch.testing.assert_close(state.gallery.data, normalize(by_hand, dim=1).float())
    assert notes == ("learned whitening to 3 directions, learned from what mine.npz was",)


def test_other_files_are_left_to_who_knows_published_projections(tmp_path, sources):
    asked = []

    def projection(file):
        asked.append(file)
        return torch.eye(6)[:2].double(), torch.tensor([0.0, 1.0]).double()

    sources.projection = projection
    state, _ = take([WhitenByPairs(file=str(tmp_path / "net.pth"))], DATA[:3], DATA[3:], sources)
    torch.testing.assert_close(state.query.data, normalize(DATA[:3, :2] + torch.tensor([0.0, 1.0]), dim=1))
    assert asked == [tmp_path / "net.pth"]


@pytest.mark.parametrize(
    "content", [None, b"no archive", {"mean": np.zeros(6)}, {"m": np.zeros(5), "P": np.eye(6)}, {"m": 1, "P": [1, 2]}]
)
def test_a_file_with_something_else_is_named(tmp_path, content):
    file = tmp_path / "mine.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.savez(file, **content)
    with pytest.raises(ValueError, match=r"mine\.npz.*expected an \.npz with arrays") as error:
        take([WhitenByPairs(file=str(file))], DATA[:3], DATA[3:])
    assert "\n" not in str(error.value)


def test_whitening_stands_before_ranking_and_expansion_may_follow(sources):
    whitened, _ = take([WhitenByPCA(), QueryExpansion(2)], DATA[:3], DATA[3:], sources)
    assert not torch.allclose(whitened.query.data, take([WhitenByPCA()], DATA[:3], DATA[3:], sources)[0].query.data)
