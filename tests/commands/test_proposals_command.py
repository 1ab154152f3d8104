"""The proposals command: from a trained RPN and pictures to the file that batches bring."""

import pytest
import torch

from retrieval_bench.cli import main
from retrieval_bench.datasets.proposals import read_proposals
from retrieval_bench.datasets.voc2007 import Voc2007
from retrieval_bench.methods import RPN


@pytest.fixture(scope="module")
def voc(drawn):
    return drawn("voc2007")


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    method = RPN("squeezenet1_0", "none", anchors=(16, 32), count=20, min_side=64, max_side=96)
    facts = {"method": "RPN", "hyper_parameters": dict(method.hparams), "learned_from": "the boxes of voc2007"}
    torch.save({**facts, "state_dict": method.state_dict()}, tmp_path / "rpn.ckpt")
    return tmp_path / "rpn.ckpt"


def call(voc, checkpoint, folder):
    words = ["--root", str(voc), "--checkpoint", str(checkpoint), "--output", str(folder), "--workers", "0"]
    return main(["proposals", "voc2007", *words])


def test_the_file_has_every_picture_and_says_what_was_learned_from(voc, checkpoint, tmp_path, capsys):
    assert call(voc, checkpoint, tmp_path / "out") == 0
    (file,) = (tmp_path / "out").iterdir()
    assert capsys.readouterr().out == f"the proposals are in {file}\n"
    assert file.name.startswith("voc2007-rpn-64-96-20-")
    dataset = Voc2007(voc)
    found = read_proposals(file, dataset)
    assert found.boxes.shape == (len(dataset.table), 20, 4)
    assert found.learned_from == "the boxes of voc2007"
    assert call(voc, checkpoint, tmp_path / "out") == 0
    assert capsys.readouterr().out == f"complete already: {file}\n"


def test_another_checkpoint_is_named(voc, tmp_path, capsys):
    assert call(voc, tmp_path / "lost.ckpt", tmp_path / "out") == 1
    assert f"there is no checkpoint at {tmp_path / 'lost.ckpt'}" in capsys.readouterr().err


def test_fewer_than_no_workers_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["proposals", "voc2007", "--checkpoint", str(tmp_path / "rpn.ckpt"), "--workers", "-1"])
    assert "expected a whole number from 0, got '-1'" in capsys.readouterr().err
