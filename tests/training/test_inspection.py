"""From checkpoints and descriptors of a miniature to pictures, through the command line."""

import json

import pytest
import torch
from PIL import Image

from retrieval_bench.cli import main
from retrieval_bench.methods import RMAC, ClusterMAC
from retrieval_bench.retrieval.descriptors import Descriptors, save_sides
from retrieval_bench.training.inspection import landmarks, ranked, region_precisions

SMALL = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "max_side": 96, "whiten": False}


@pytest.fixture(scope="module")
def oxford(drawn):
    return drawn("oxford5k")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints of both methods as training writes them."""
    torch.manual_seed(0)
    folder, files = tmp_path_factory.mktemp("checkpoints"), []
    for method in (ClusterMAC(clusters=[2, 3], rgb_clusters=2, pca_scope="image", **SMALL), RMAC(levels=2, **SMALL)):
        content = {"hyper_parameters": dict(method.hparams), "state_dict": method.state_dict()}
        method.on_save_checkpoint(content)
        torch.save(content, folder / f"{type(method).__name__}.ckpt")
        files.append(folder / f"{type(method).__name__}.ckpt")
    return files


def test_clusters_of_a_checkpoint_become_a_picture(tmp_path, oxford, checkpoints, capsys):
    pictures = sorted(map(str, oxford.rglob("*.jpg")))[:2]
    words = ["clusters", "--output", str(tmp_path / "c.png"), *pictures, "--checkpoint"]
    assert main([*words, str(checkpoints[0])]) == 0
    with Image.open(tmp_path / "c.png") as sheet:
        assert sheet.width == (320 + 10) * 5 + 10
    assert main([*words, str(checkpoints[1])]) == 1
    assert "is RMAC, which has no clusters" in capsys.readouterr().err


def test_precision_of_regions_becomes_a_chart_and_numbers(tmp_path, oxford, checkpoints):
    output = tmp_path / "p.png"
    words = ["oxford5k", "--data-dir", str(oxford.parent), "--output", str(output), "--checkpoints"]
    assert main(["region-precision", *words, *map(str, checkpoints)]) == 0
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert output.is_file()
    assert list(numbers["checkpoints"]) == list(map(str, checkpoints))
    for found in numbers["checkpoints"].values():
        assert found["share"][0] == 1
        assert all(left >= right for left, right in zip(found["share"], found["share"][1:], strict=False))


def test_every_query_has_its_regions(oxford):
    dataset = landmarks("oxford5k", oxford)
    method = RMAC(levels=1, include_global=True, **SMALL)
    precision = region_precisions(method, dataset)
    queries = len(dataset.truth.queries)
    # One or two squares at the first level, and the whole map, whose precision is the share of the box.
    assert 2 * queries <= len(precision) <= 3 * queries
    assert 0 < precision.min() <= precision.max() <= 1


def test_results_are_called_what_the_ground_truth_calls_them(tmp_path, oxford, capsys):
    dataset = landmarks("oxford5k", oxford)
    gallery = dataset.ground_truth.gallery
    truth = dataset.truth.queries[1]
    names = {row: dataset.image_path(row).stem for row in gallery.tolist()}
    kinds = [next((k for k in ("good", "ok", "junk") if names[row] in truth.lists[k]), "wrong") for row in gallery]
    # Descriptors on a half circle: the gallery is found in its own order.
    angle = torch.arange(len(dataset.table)) * 3 / len(dataset.table)
    angle[dataset.ground_truth.query] = 0
    descriptors = Descriptors(torch.stack([angle.cos(), angle.sin()], 1).float(), torch.arange(len(dataset.table)))
    (row,) = ranked(dataset, descriptors, descriptors, [1], len(gallery))
    assert [found.kind for found in row.found] == kinds
    assert {"good", "junk", "wrong"} <= set(kinds)
    assert row.title == f"query 1: {truth.image}"

    descriptors.save(tmp_path / "d.npz")
    words = ["ranked", "oxford5k", "--root", str(oxford), "--top", "3", "--output", str(tmp_path / "r.png")]
    assert main([*words, "--descriptors", str(tmp_path / "d.npz"), "--queries", "0", "1"]) == 0
    assert main([*words, "--descriptors", str(tmp_path / "d.npz"), "--queries", "99"]) == 1
    assert "oxford5k has no query 99: they are 0 to" in capsys.readouterr().err
    picture = (tmp_path / "r.png").read_bytes()
    save_sides(descriptors.select(dataset.ground_truth.query), descriptors, tmp_path / "sides.npz")
    assert main([*words, "--descriptors", str(tmp_path / "sides.npz"), "--queries", "0", "1"]) == 0
    assert (tmp_path / "r.png").read_bytes() == picture
    (tmp_path / "cut.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:-100])
    assert main([*words, "--descriptors", str(tmp_path / "cut.npz")]) == 1
    assert "cut.npz is no file of descriptors" in capsys.readouterr().err
    assert main([*words, "--descriptors", str(tmp_path / "gone.npz")]) == 1
    assert "gone.npz is no file of descriptors" in capsys.readouterr().err
