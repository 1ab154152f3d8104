from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.datamodules.samplers import ClassBalancedBatchSampler, StridedSampler

LABELS = np.repeat(np.arange(10), [6, 6, 6, 6, 6, 6, 6, 2, 1, 3])  # 48 rows; the last three classes are short


def test_a_batch_holds_p_classes_of_k_images_without_repeats():
    for batch in ClassBalancedBatchSampler(LABELS, 4, 3, seed=1):
        rows = [draw.row for draw in batch]
        assert list(Counter(LABELS[rows]).values()) == [3, 3, 3, 3]
        long = [row for row in rows if LABELS[row] not in (7, 8)]
        assert len(set(long)) == len(long)


def test_a_class_with_fewer_images_is_drawn_with_replacement():
    rows = [d.row for batch in ClassBalancedBatchSampler(LABELS, 10, 5, seed=1) for d in batch]
    assert rows.count(44) == 5  # the only image of class 8
    short = [row for row in rows if LABELS[row] == 7]
    assert len(short) == 5
    assert set(short) <= {42, 43}


def test_an_epoch_has_as_many_images_as_the_training_set_and_reaches_every_class():
    assert len(ClassBalancedBatchSampler(LABELS, 4, 3)) == 4  # 48 // 12
    assert len(ClassBalancedBatchSampler(LABELS, 4, 3, world_size=2)) == 2  # 48 // 24
    assert len(ClassBalancedBatchSampler(LABELS, 2, 12)) == 5  # 48 // 24 = 2 batches would leave six classes out
    assert len(ClassBalancedBatchSampler(np.repeat([0, 1], 3), 2, 5)) == 1  # 6 // 10 = 0
    rows, _ = ClassBalancedBatchSampler(LABELS, 2, 12).plan(0)
    assert set(LABELS[rows].ravel()) == set(range(10))


def test_unlabelled_rows_are_never_drawn():
    labels = np.array([-1, 0, 0, -1, 1, 1])
    rows, _ = ClassBalancedBatchSampler(labels, 2, 2).plan(0)
    assert sorted(set(rows.ravel())) == [1, 2, 4, 5]


def test_images_of_a_class_come_equally_often_over_an_epoch():
    rows, _ = ClassBalancedBatchSampler(np.repeat([0, 1], 12), 2, 3, seed=5).plan(0)
    assert rows.shape == (4, 1, 6)
    assert sorted(rows.ravel()) == list(range(24))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_class_waits_while_another_comes_twice_and_ranks_share_none(data):
    classes = data.draw(st.integers(1, 13))
    p = data.draw(st.integers(1, classes))
    world = data.draw(st.integers(1, 4))
    labels = np.repeat(np.arange(classes), data.draw(st.integers(1, 9)))
    sampler = ClassBalancedBatchSampler(labels, p, 2, seed=data.draw(st.integers(0, 9)), world_size=world)
    rows, _ = sampler.plan(data.draw(st.integers(0, 3)))
    seen = labels[rows][..., ::2]  # one class for each pair of images
    assert np.array_equal(labels[rows][..., 1::2], seen)
    counts = np.bincount(seen.ravel(), minlength=classes)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    for step in seen.reshape(len(seen), world, p):
        assert all(len(set(batch)) == p for batch in step)
        if classes >= p * world:
            assert len(set(step.ravel())) == p * world


def test_ranks_take_their_own_batches_of_one_plan():
    ranks = [ClassBalancedBatchSampler(LABELS, 2, 3, seed=3, rank=r, world_size=2) for r in range(2)]
    rows, seeds = ranks[0].plan(0)
    batches = [list(sampler) for sampler in ranks]
    for r in range(2):
        assert [[d.row for d in b] for b in batches[r]] == rows[:, r].tolist()
        assert [[d.seed for d in b] for b in batches[r]] == seeds[:, r].tolist()
    for mine, yours in zip(*batches, strict=True):
        assert not {LABELS[d.row] for d in mine} & {LABELS[d.row] for d in yours}


def test_the_plan_depends_on_seed_and_epoch_alone():
    first = ClassBalancedBatchSampler(LABELS, 4, 3, seed=7)
    again = ClassBalancedBatchSampler(LABELS, 4, 3, seed=7)
    epoch_0 = list(first)
    first.set_epoch(5)
    epoch_5 = list(first)
    np.random.random()
    again.set_epoch(5)
    assert list(again) == epoch_5
    assert epoch_5 != epoch_0
    assert list(ClassBalancedBatchSampler(LABELS, 4, 3, seed=8)) != epoch_0


def test_every_draw_of_an_epoch_has_a_seed_of_its_own():
    _, seeds = ClassBalancedBatchSampler(LABELS, 4, 3, world_size=2).plan(0)
    assert len(np.unique(seeds)) == seeds.size


def test_too_few_classes_are_refused_with_both_numbers_and_the_option():
    with pytest.raises(ValueError, match=r"16 classes .* 10 training classes .*--data\.classes_per_batch"):
        ClassBalancedBatchSampler(LABELS, 16, 5)
    with pytest.raises(ValueError, match="at least 1, got 4 and 0"):
        ClassBalancedBatchSampler(LABELS, 4, 0)


@given(st.integers(0, 40), st.integers(1, 5))
def test_evaluation_takes_every_row_once_over_all_ranks(size, world):
    ranks = [StridedSampler(size, rank=r, world_size=world) for r in range(world)]
    rows = [list(sampler) for sampler in ranks]
    assert sorted(row for rank in rows for row in rank) == list(range(size))
    assert [len(r) for r in rows] == [len(s) for s in ranks]


def test_strides_by_hand():
    assert list(StridedSampler(7, rank=0, world_size=2)) == [0, 2, 4, 6]
    assert list(StridedSampler(7, rank=1, world_size=2)) == [1, 3, 5]
    assert list(StridedSampler(3)) == [0, 1, 2]
