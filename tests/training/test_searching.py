import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_runs import KINDS
from PIL import Image

from retrieval_bench.bench.ranked import read_ranked
from retrieval_bench.cli import main
from retrieval_bench.datamodules.loose import LooseDataModule, LoosePictures
from retrieval_bench.datasets.images import image_size
from retrieval_bench.errors import OptionError
from retrieval_bench.training.describing import Describer
from retrieval_bench.training.finished import open_run
from retrieval_bench.training.index_store import open_index
from retrieval_bench.training.indexing import OWN, build_index, folder_gallery, own_gallery
from retrieval_bench.training.searching import find

QUERIES = 4


@pytest.fixture(params=sorted(KINDS))
def run(request, finished) -> Path:
    return finished(request.param)


@pytest.fixture
def rmac(finished) -> Path:
    return finished("rmac")


def data_of(run: Path) -> Path:
    return run.parents[5] / "data"


def searched(run: Path):
    describer = Describer(open_run(run))
    if not (run / OWN).is_dir():
        build_index(describer, own_gallery(describer, data_of(run), 0), run / OWN)
    return describer, open_index(run / OWN, describer.maker)


def test_queries_of_the_data_set_find_what_they_found_in_the_evaluation(run):
    describer, index = searched(run)
    expected = read_ranked(run / "ranked.npz")
    assert len(np.unique(expected.score[:QUERIES])) > QUERIES  # an order that something decides
    data = describer.run.datamodule(data_of(run), 0)
    table, crops = data.table, data.protocol.query_crop != "none"
    for i in range(QUERIES):
        query, image, score, boxes = (getattr(expected, name)[i] for name in ("query", "image", "score", "box"))
        box = tuple(table.box[query].tolist()) if crops else None
        hits = find(describer, index, data.dataset.image_path(int(query)), box).hits
        assert [hit.path for hit in hits] == [table.path[row] for row in image[image >= 0]]
        np.testing.assert_allclose([hit.score for hit in hits], score[image >= 0], rtol=1e-5, atol=1e-6)
        if np.isnan(boxes).all():
            assert all(hit.box is None for hit in hits)
        else:
            np.testing.assert_allclose([hit.box for hit in hits], boxes[image >= 0], rtol=1e-6)


def test_the_gallery_as_a_plain_folder_is_described_as_in_the_evaluation(run, tmp_path):
    describer, index = searched(run)
    folder = tmp_path / "copy"
    some = sorted({listed.path for listed in index.listed})[:5]
    for path in some:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((index.root / path).read_bytes())
    build_index(describer, folder_gallery(describer, folder, 0), tmp_path / "index")
    copied = open_index(tmp_path / "index", describer.maker)
    assert [listed.path for listed in copied.listed] == some
    of_path = {listed.path: i for i, listed in enumerate(index.listed)}
    original = index.descriptors.select([of_path[path] for path in some])
    np.testing.assert_allclose(copied.descriptors.data.float(), original.data.float(), rtol=1e-4, atol=1e-5)
    if original.boxes is not None:
        np.testing.assert_allclose(copied.descriptors.boxes, original.boxes, rtol=1e-6)


def test_a_box_changes_what_is_found_and_must_lie_in_the_picture(run):
    describer, index = searched(run)
    picture = index.root / index.listed[0].path
    height, width = image_size(picture)
    whole, part = (find(describer, index, picture, box) for box in (None, (0, 0, width // 3, height // 3)))
    assert [hit.score for hit in whole.hits] != [hit.score for hit in part.hits]
    for box in ((0, 0, width + 1, height), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 9, 5, 5)):
        with pytest.raises(OptionError, match=f"does not lie in .*{width}x{height} pixels"):
            find(describer, index, picture, box)


def test_a_method_that_takes_no_box_sees_the_picture_cut_to_it(finished, tmp_path):
    describer, index = searched(finished("adaptive_triplet"))
    picture = index.root / index.listed[0].path
    cut = find(describer, index, picture, (10, 20, 60, 50))
    assert "the picture was cut to it first" in cut.notes[0]
    with Image.open(picture) as image:
        image.crop((10, 20, 60, 50)).save(tmp_path / "cut.png")
    assert find(describer, index, tmp_path / "cut.png").hits == cut.hits


def test_search_indexes_prints_draws_and_then_only_loads(rmac, tmp_path, capsys):
    results, picture = str(rmac.parents[4]), next((data_of(rmac) / "miniature" / "oxford5k").rglob("*.jpg"))
    words = ["search", "--run", "try/oxford5k/rmac/s0", "--results", results, "--data-dir", str(data_of(rmac))]
    words += ["--query", str(picture), "--top", "3", "--box", "5", "5", "60", "60"]
    shutil.rmtree(rmac / OWN, ignore_errors=True)
    assert main([*words, "--output", str(tmp_path / "found.png")]) == 0
    first = capsys.readouterr().out
    assert "described now" in first
    with Image.open(tmp_path / "found.png") as sheet:
        assert sheet.width == 4 * 210 + 10  # the query and three results
    assert main(words) == 0
    again = capsys.readouterr().out
    assert "described now" not in again
    assert again.splitlines()[-3:] == first.splitlines()[-4:-1]


def test_what_cannot_be_searched_is_one_line(rmac, tmp_path, capsys):
    def refused(*words: str) -> str:
        assert main(["search", *words]) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("retrieval-bench: ")]
        return line

    picture = str(next((data_of(rmac) / "miniature" / "oxford5k").rglob("*.jpg")))
    assert "there is no run nowhere/s0" in refused("--run", "nowhere/s0", "--query", picture)
    (tmp_path / "text.jpg").write_text("no picture")
    searched(rmac)
    assert "text.jpg cannot be asked" in refused("--run", str(rmac), "--query", str(tmp_path / "text.jpg"))
    assert "there is no index in" in refused("--run", str(rmac), "--query", picture, "--index", str(tmp_path / "none"))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "result.json").write_bytes((rmac / "result.json").read_bytes())
    message = refused("--run", str(bare), "--query", picture)
    assert "has no checkpoint" in message
    assert "retrieval-bench run try --datasets oxford5k --methods rmac --variants full --seeds 0" in message
    (bare / "checkpoints").mkdir()
    (bare / "checkpoints" / "last.ckpt").write_bytes((rmac / "checkpoints" / "last.ckpt").read_bytes() + b"x")
    assert "is not the checkpoint that" in refused("--run", str(bare), "--query", picture)


def test_a_method_that_wants_proposals_from_a_file_describes_a_loose_query_all_the_same(finished, tmp_path):
    run = open_run(finished("udq"))
    method = run.load()
    picture = next((data_of(run.folder) / "miniature" / "oxford5k").rglob("*.jpg"))
    pictures = LoosePictures(picture.parent, [picture.name], run.result.protocol, role="query", box=(5, 5, 60, 60))
    recipes = method.preprocessing, replace(method.preprocessing, proposals=tmp_path)
    described = []
    for method.preprocessing in recipes:
        data = LooseDataModule(pictures, method.preprocessing)
        (batch,) = data.picture_dataloader(np.arange(1))
        with torch.inference_mode():
            described.append(method.embed(data.prepared(batch, method.device)))
    torch.testing.assert_close(described[0].data[0], described[1].data[0], rtol=0, atol=0)
    assert len(described[1]) == len(described[0])
