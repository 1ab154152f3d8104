"""The proposals of a data set on disk: those of the network, exactly, however the pass is cut short."""

import json

import numpy as np
import pytest
import torch

from retrieval_bench.datamodules import proposals
from retrieval_bench.datamodules.proposals import make_proposals
from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.errors import DataError, UnreadableImageError
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.proposals import read_proposals
from retrieval_bench.nn.preprocessing import MinSide, normalize
from retrieval_bench.nn.rpn import ProposalNetwork

RESIZE = MinSide(64, 96)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ProposalNetwork("squeezenet1_0", "none", anchors=(16, 32), count=20).eval()


@pytest.fixture
def pictures(painter):
    for size in ((40, 60), (60, 40), (50, 50)):
        painter.add_noise(0, "g", 2, size=size)
    return painter.data().dataset


def test_what_is_read_is_what_the_network_proposes_to_the_last_bit(network, pictures, tmp_path):
    file = make_proposals(network, pictures, tmp_path, RESIZE)
    found = read_proposals(file, pictures)
    assert found.boxes.shape == (6, 20, 4)
    assert found.size.tolist() == [[96, 64]] * 2 + [[64, 96]] * 2 + [[64, 64]] * 2
    for row, boxes in enumerate(found.boxes):
        pixels = resize_image(load_image(pictures.image_path(row)), RESIZE)
        with torch.inference_mode():
            assert np.array_equal(network(normalize(pixels[None], "torchvision"))[0].numpy(), boxes)


def test_an_interrupted_pass_is_gone_on_with_to_the_same_bytes(network, pictures, tmp_path):
    whole = make_proposals(network, pictures, tmp_path / "whole", RESIZE)

    def interrupt(done, total):
        assert total == 6
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_proposals(network, pictures, tmp_path, RESIZE, progress=interrupt)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(part.read_bytes()[:-100])  # killed while writing: the last line is torn
    told = []
    again = make_proposals(network, pictures, tmp_path, RESIZE, progress=lambda done, _: told.append(done))
    assert told == [4, 5, 6]
    assert again.read_bytes() == whole.read_bytes()
    assert again.name == whole.name
    assert not part.exists()


def test_what_is_complete_is_not_looked_at_again(network, pictures, tmp_path, monkeypatch):
    file = make_proposals(network, pictures, tmp_path, RESIZE)

    def refuse(path):
        raise AssertionError(f"{path} was decoded again")

    monkeypatch.setattr(proposals, "load_image", refuse)
    assert make_proposals(network, pictures, tmp_path, RESIZE) == file


def test_other_weights_or_sizes_have_files_of_their_own(network, pictures, tmp_path):
    torch.manual_seed(1)
    other = ProposalNetwork("squeezenet1_0", "none", anchors=(16, 32), count=20).eval()
    make_proposals(network, pictures, tmp_path, RESIZE)
    make_proposals(other, pictures, tmp_path, RESIZE)
    make_proposals(network, pictures, tmp_path, MinSide(48, 96))
    assert len(list(tmp_path.glob("colours-rpn-*.jsonl"))) == 3


def test_other_pictures_are_never_mixed(network, pictures, tmp_path):
    make_proposals(network, pictures, tmp_path, RESIZE)
    with (pictures.root / "3.png").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="made with data_fingerprint"):
        make_proposals(network, pictures, tmp_path, RESIZE)


def test_a_broken_picture_is_one_line_that_names_it(network, pictures, tmp_path):
    (pictures.root / "2.png").write_bytes(b"not a picture")
    with pytest.raises(UnreadableImageError, match=r"2\.png") as caught:
        make_proposals(network, pictures, tmp_path, RESIZE)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_damaged_file_is_named(network, pictures, tmp_path):
    file = make_proposals(network, pictures, tmp_path, RESIZE)
    header, *lines = file.read_text().splitlines()
    short = json.dumps({**json.loads(lines[1]), "boxes": "AAAA"})
    for content, words in (
        ("", "no file of region proposals"),
        ('{"format": "saliency boxes 1"}', "no file of region proposals"),
        ("\n".join([header, *lines[:-1]]), "should hold 6 pictures and holds 5"),
        ("\n".join([header, lines[0], short]), "line 3 of .* holds no proposals"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=words):
            read_proposals(file, pictures)
    file.unlink()
    with pytest.raises(DataError, match="there is no file of region proposals"):
        read_proposals(file, pictures)
