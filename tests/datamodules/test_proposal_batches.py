"""Batches that bring the region proposals of their pictures."""

import numpy as np
import pytest

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.proposals import PictureProposals, ProposalWriter
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing

RESIZE = MinSide(24, 96)
SIZES = ((24, 32), (24, 32), (48, 24), (24, 32))  # heights and widths; none is changed by RESIZE


@pytest.fixture
def proposed(painter, tmp_path):
    """Data of four pictures, the proposals of picture i all of side 2 i + 2, and the folder of their file."""
    for size in SIZES:
        painter.add_noise(0, "qg", 1, size=size)
    folder = tmp_path / "proposals"

    def make(file="colours-rpn-24-96-3-0123.jsonl", sizes=SIZES, place=folder, **options):
        with ProposalWriter(folder / file, {"count": 3, "learned_from": "objects"}, len(sizes)) as writer:
            for i, (height, width) in enumerate(sizes):
                boxes = np.array([[x, 0, x + 2 * i + 2, 2 * i + 2] for x in range(3)], np.float32)
                writer.append([PictureProposals.pack(f"{i}.png", boxes, (width, height))])
        data = painter.data(**options)
        data.preprocessing = Preprocessing(RESIZE, flip=0, proposals=place)
        return data

    return make


def sides(batch):
    return dict(zip(batch["index"].tolist(), batch["proposals"][:, :, 3].tolist(), strict=True))


def test_every_picture_comes_with_its_own_proposals(proposed):
    data = proposed()
    found = {}
    for batch in data.val_dataloader():
        found |= sides(batch)
    assert found == {i: [2 * i + 2] * 3 for i in range(4)}
    assert data.proposals.learned_from == "objects"


def test_pictures_drawn_to_train_on_do_so_too(proposed):
    data = proposed()
    loader = data.shuffled_dataloader(data.table.rows("gallery"))
    epochs = []
    for epoch in range(3):
        loader.batch_sampler.set_epoch(epoch)
        batches = list(loader)
        assert all(sides(batch) == {int(batch["index"]): [2 * int(batch["index"]) + 2] * 3} for batch in batches)
        epochs.append([int(batch["index"]) for batch in batches])
    assert all(sorted(order) == [0, 1, 2, 3] for order in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_a_file_may_be_named_instead_of_its_folder(proposed, tmp_path):
    file = tmp_path / "proposals" / "mine.jsonl"
    assert proposed(file.name, place=file).proposals.boxes.shape == (4, 3, 4)


def test_without_proposals_batches_are_as_they_were(proposed):
    data = proposed(place=None)
    assert all("proposals" not in batch for batch in data.val_dataloader())


def test_in_a_folder_just_one_file_is_expected(proposed):
    with pytest.raises(DataError, match=r"no file colours-rpn-24-96-\*.jsonl .*retrieval-bench proposals colours"):
        _ = proposed("colours-rpn-32-96-3-0123.jsonl").proposals
    proposed()
    with pytest.raises(DataError, match="2 files colours-rpn-24-96-"):
        _ = proposed("colours-rpn-24-96-3-4567.jsonl").proposals


def test_pictures_of_another_size_are_refused(proposed):
    data = proposed(sizes=((24, 32), (24, 32), (24, 48), (24, 32)))
    with pytest.raises(DataError, match="row 2 is 24x48 pixels, its proposals are of 48x24"):
        list(data.val_dataloader())


def test_a_protocol_that_crops_is_refused(proposed):
    with pytest.raises(OptionError, match="'boxes' of colours crops pictures"):
        _ = proposed(protocol="boxes").proposals
