"""Mining: which triplets may be drawn, against rules by hand and a slow reference."""

import math
from itertools import pairwise

import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.losses import mining
from retrieval_bench.losses.mining import hard_triplets, random_triplets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(*places: float) -> torch.Tensor:
    """Embeddings on a line, whose distances are whole numbers and so exact."""
    return torch.tensor(places)[:, None]


def drawn(
    x: torch.Tensor, label: torch.Tensor, beta: float, anchor: int, times: int = 200
) -> tuple[set[int], set[int]]:
    """All positives and negatives that are drawn for an anchor."""
    g, positives, negatives = generator(), set(), set()
    for _ in range(times):
        triplets = hard_triplets(x, label, beta, generator=g)
        i = triplets.anchor.tolist().index(anchor)
        positives.add(int(triplets.positive[i]))
        negatives.add(int(triplets.negative[i]))
    return positives, negatives


def test_of_four_positives_one_of_the_two_farthest_is_drawn_at_one_half():
    x, label = line(0, 1, 2, 3, 4, 100), torch.tensor([0, 0, 0, 0, 0, 1])
    assert drawn(x, label, 0.5, 0)[0] == {3, 4}


def test_of_40_negatives_one_of_the_two_nearest_is_drawn_at_one_half():
    x = line(0, 1, *range(50, 10, -1))
    label = torch.tensor([0, 0, *range(1, 41)])
    assert drawn(x, label, 0.5, 0)[1] == {41, 40}  # at 11 and 12, the last two rows


@pytest.mark.parametrize("beta", [0.0, 1e-6])
def test_at_beta_0_the_farthest_positive_and_the_nearest_negative_are_always_drawn(beta):
    x = line(0, 3, 1, 2, 9, 7, 8)
    label = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    triplets = hard_triplets(x, label, beta, generator=generator())
    assert triplets.positive.tolist() == [1, 0, 1, 0, 5, 4, 5]  # rows 4 and 5 are both 1 from row 6: the later
    assert triplets.negative.tolist() == [5, 5, 5, 5, 1, 1, 1]


@pytest.mark.parametrize(
    ("positives", "negatives", "beta", "expected"),
    [
        (29, 5964, 0.5, (14, 299)),  # CUB
        (99, 11900, 0.5, (49, 595)),  # Stanford Dogs
        (4, 40, 0.5, (2, 2)),
        (10, 300, 0.1, (1, 3)),  # where floating point has 0.1 a hair too large
        (3, 70, 0.1, (1, 1)),
        (7, 9, 1.0, (7, 1)),
        (1, 1, 0.0, (1, 1)),
    ],
)
def test_how_many_may_be_drawn(positives, negatives, beta, expected):
    counts = (torch.tensor([x], dtype=torch.float64) for x in (positives, negatives))
    assert tuple(int(x) for x in mining._candidates(*counts, beta)) == expected


def reference(x: list[float], label: list[int], anchor: int, beta: float) -> tuple[list[int], list[int]]:
    """All positives and negatives that may be drawn for an anchor, by sorting pairs."""

    def ordered(rows: list[int]) -> list[int]:
        return [row for _, row in sorted((abs(x[anchor] - x[row]), row) for row in rows)]

    mates = ordered([i for i in range(len(x)) if label[i] == label[anchor] and i != anchor])
    others = ordered([i for i in range(len(x)) if label[i] != label[anchor]])
    farthest = max(1, math.floor(len(mates) * beta))
    nearest = max(0, math.ceil(round(len(others) * beta * 0.1, 9)) - 1) + 1
    return mates[-farthest:], others[:nearest]


@pytest.mark.parametrize("beta", [0.2, 0.5, 1.0])
def test_what_is_drawn_is_all_that_the_rule_allows_and_nothing_else(beta, monkeypatch):
    monkeypatch.setattr(mining, "_BLOCK", 200)  # several blocks, the last one smaller
    places = torch.randint(0, 40, (45,), generator=generator(3)).float()  # with equal distances
    label = torch.randint(0, 5, (45,), generator=generator(4))
    g, seen = generator(5), [(set(), set()) for _ in range(45)]
    for _ in range(150):
        triplets = hard_triplets(places[:, None], label, beta, generator=g)
        for a, p, n in zip(*(x.tolist() for x in triplets), strict=True):
            seen[a][0].add(p)
            seen[a][1].add(n)
    for anchor in range(45):
        positives, negatives = reference(places.tolist(), label.tolist(), anchor, beta)
        assert seen[anchor] == (set(positives), set(negatives))


def test_every_image_is_an_anchor_once_and_never_its_own_positive():
    x, label = torch.randn(60, 8, generator=generator(1)), torch.arange(60) % 7
    for triplets in (
        hard_triplets(x, label, 1.0, generator=generator()),
        random_triplets(label, generator=generator()),
    ):
        assert triplets.anchor.tolist() == list(range(60))
        assert (triplets.positive != triplets.anchor).all()
        assert (label[triplets.positive] == label).all()
        assert (label[triplets.negative] != label).all()


@pytest.mark.parametrize("draw", ["hard", "random"])
def test_an_image_alone_in_its_class_is_no_anchor_but_may_be_a_negative(draw):
    x, label = line(0, 1, 2, 10, 11), torch.tensor([5, 3, 5, 7, 7])
    if draw == "hard":
        triplets = hard_triplets(x, label, 0.0, generator=generator())
        assert triplets.negative.tolist() == [1, 1, 2, 2]
    else:
        triplets = random_triplets(label, generator=generator())
    assert triplets.anchor.tolist() == [0, 2, 3, 4]
    assert triplets.positive.tolist() == [2, 0, 4, 3]


def test_duplicates_of_an_anchor_are_its_nearest_and_not_itself():
    x, label = line(4, 4, 4, 4), torch.tensor([0, 0, 1, 1])
    triplets = hard_triplets(x, label, 0.0, generator=generator())
    assert triplets.positive.tolist() == [1, 0, 3, 2]
    assert triplets.negative.tolist() == [2, 2, 0, 0]


def test_the_unit_distance_sees_directions_alone():
    x = torch.tensor([[1.0, 0.0], [9.0, 1.0], [0.0, 1.0], [5.0, 0.0], [0.0, 1.1]])
    label = torch.tensor([0, 0, 0, 1, 1])
    near, direction = (hard_triplets(x, label, 0.0, generator=generator(), distance=d) for d in ("euclidean", "unit"))
    assert near.positive[0] == 1
    assert direction.positive[0] == 2
    assert near.negative[0] == 4
    assert direction.negative[0] == 3


def test_equal_generators_draw_equally_and_go_on_to_other_triplets():
    x, label = torch.randn(80, 4, generator=generator(1)), torch.arange(80) % 4
    a, b = generator(9), generator(9)
    first, second = ([hard_triplets(x, label, generator=g) for _ in range(3)] for g in (a, b))
    assert all(torch.equal(u, v) for s, t in zip(first, second, strict=True) for u, v in zip(s, t, strict=True))
    assert all(not torch.equal(s.positive, t.positive) for s, t in pairwise(first))


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    x, label = torch.randint(-9, 9, (90, 6), generator=generator(1)).float(), torch.arange(90) % 4
    whole = hard_triplets(x, label, generator=generator())
    monkeypatch.setattr(mining, "_BLOCK", 1)  # one anchor at a time
    assert all(torch.equal(a, b) for a, b in zip(whole, hard_triplets(x, label, generator=generator()), strict=True))


def test_neither_gradients_nor_autocast_reach_the_choice():
    x, label = torch.randn(40, 8, generator=generator(1)), torch.arange(40) % 4
    plain = hard_triplets(x, label, generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = hard_triplets(x.requires_grad_(), label, generator=generator())
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_random_triplets_are_drawn_alike():
    label = torch.tensor([0, 1, 0, 1, 0, 2])
    g, counts = generator(), torch.zeros(6, 6)
    for _ in range(900):
        triplets = random_triplets(label, generator=g)
        counts[triplets.anchor, triplets.positive] += 1
        counts[triplets.anchor, triplets.negative] += 1
    assert counts[0].tolist()[0] == 0
    assert counts[5].sum() == 0
    for row, others in ((counts[0, [2, 4]], 450), (counts[0, [1, 3, 5]], 300), (counts[3, [0, 2, 4, 5]], 225)):
        assert (row - others).abs().max() < 4 * others**0.5
    assert counts[3, 1] == 900


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_labels_that_make_no_triplet_are_reported(labels):
    label = torch.tensor(labels)
    with pytest.raises(ValueError, match=r"3 images of [13] classes make no triplet"):
        hard_triplets(torch.zeros(3, 2), label, generator=generator())
    with pytest.raises(ValueError, match="make no triplet"):
        random_triplets(label, generator=generator())


def test_embeddings_that_are_not_finite_are_reported():
    x = torch.tensor([[0.0], [math.nan], [1.0], [2.0]])
    with pytest.raises(ValueError, match="not finite"):
        hard_triplets(x, torch.tensor([0, 0, 1, 1]), generator=generator())


@pytest.mark.parametrize("beta", [-0.1, 1.5])
def test_a_beta_that_is_no_share_is_refused(beta):
    with pytest.raises(OptionError, match="share of the positives"):
        hard_triplets(line(0, 1, 2, 3), torch.tensor([0, 0, 1, 1]), beta, generator=generator())
