"""The order of cached things: whole shares for all processes, drawn anew each epoch."""

import pytest
import torch

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.epoch_order import EpochOrder

HOST = torch.device("cpu")


def order(count: int, batch_size: int, epoch: int = 0, rank: int = 0, world_size: int = 1, seed: int = 3) -> EpochOrder:
    names = {"thing": "picture", "option": "images_per_batch"}
    return EpochOrder(count, batch_size, lambda: epoch, **names, seed=seed, rank=rank, world_size=world_size)


def test_processes_share_an_epoch_in_equally_many_batches():
    batches = [order(11, 2, rank=rank, world_size=2) for rank in (0, 1)]
    seen = [batch.tolist() for one in batches for batch in one.batches(HOST)]
    # Of 11 each gets 5, and one is left out.
    assert [len(one) for one in batches] == [3, 3]
    assert [len(batch) for batch in seen] == [2, 2, 1, 2, 2, 1]
    numbers = [number for batch in seen for number in batch]
    assert len(set(numbers)) == 10
    assert set(numbers) <= set(range(11))


def test_an_epoch_is_drawn_from_its_number_and_the_seed_alone():
    first, again, later, other = (
        torch.cat(one.batches(HOST)).tolist()
        for one in (order(20, 3), order(20, 7), order(20, 3, 1), order(20, 3, seed=4))
    )
    assert first == again
    assert sorted(first) == sorted(later) == sorted(other) == list(range(20))
    assert first != later
    assert first != other


@pytest.mark.parametrize(("batch_size", "world_size"), [(0, 1), (3, 9)])
def test_a_process_without_anything_to_learn_from_is_refused(batch_size, world_size):
    words = (
        f"batches of {batch_size} pictures cannot be made for {world_size} processes from 5 pictures: images_per_batch"
    )
    with pytest.raises(OptionError, match=words):
        order(5, batch_size, world_size=world_size)
