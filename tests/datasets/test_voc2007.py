"""VOC 2007 from its list and its annotations, read strictly, and its miniature, read by torchvision too."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCDetection

from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.datasets.voc2007 import Voc2007, read_objects

OBJECT = (
    "<object><name>dog</name><difficult>{}</difficult><part><bndbox><xmin>9</xmin></bndbox></part><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
BOMB = '<!DOCTYPE a [<!ENTITY x "ha">]><annotation>&x;</annotation>'


@pytest.fixture(scope="module")
def miniature(drawn) -> Path:
    return drawn("voc2007")


def annotation(folder: Path, *objects: tuple[int, ...]) -> Path:
    file = folder / "000005.xml"
    file.write_text(f"<annotation>{''.join(OBJECT.format(*thing) for thing in objects)}</annotation>")
    return file


def test_boxes_that_count_from_1_and_hold_their_last_pixel_count_from_0_and_end_before_it(tmp_path):
    boxes = read_objects(annotation(tmp_path, (0, 1, 1, 500, 375), (0, 20, 30, 20, 30)))
    assert boxes.tolist() == [[0, 0, 500, 375], [19, 29, 20, 30]]
    assert boxes.dtype == np.float32


def test_difficult_objects_are_left_out_even_if_there_are_no_others(tmp_path):
    assert read_objects(annotation(tmp_path, (1, 1, 1, 9, 9), (0, 3, 4, 5, 6))).tolist() == [[2, 3, 5, 6]]
    assert read_objects(annotation(tmp_path, (1, 1, 1, 9, 9))).shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "expected XML"),
        (BOMB, "declares a document type"),
        (OBJECT.format(0, 5, 5, 4, 9), "there is no box 5, 5, 4, 9"),
        (OBJECT.format(0, 0, 5, 4, 9), "there is no box 0, 5, 4, 9"),
        (OBJECT.format(0, 1, 1, "nan", 9), "there is no box"),
        (OBJECT.format(0, 1, 1, "far", 9), "expected XML with the boxes"),
    ],
)
def test_an_annotation_that_is_broken_or_could_do_harm_is_named(tmp_path, text, words):
    file = tmp_path / "000005.xml"
    file.write_text(text if text.startswith(("<a", "<!")) else f"<annotation>{text}</annotation>")
    with pytest.raises(DataError, match=rf"000005\.xml.*{words}"):
        read_objects(file)


def test_an_entity_is_refused_in_any_encoding(tmp_path):
    file = tmp_path / "000005.xml"
    file.write_bytes(f'<?xml version="1.0" encoding="utf-16"?>{BOMB}'.encode("utf-16"))
    with pytest.raises(DataError, match=r"000005\.xml: expected XML"):
        read_objects(file)


def test_a_missing_annotation_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*000005\.xml"):
        read_objects(tmp_path / "000005.xml")


@pytest.mark.parametrize("line", ["../000005", "a/b", "000005 1"])
def test_a_list_that_leads_elsewhere_is_refused(tmp_path, line):
    folder = tmp_path / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    (folder / "trainval.txt").write_text(f"000001\n{line}\n")
    with pytest.raises(DataError, match=r"trainval\.txt, line 2"):
        Voc2007(tmp_path).table  # noqa: B018


def test_a_missing_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"no ImageSets/Main/trainval\.txt.*data download voc2007"):
        Voc2007(tmp_path)


def test_every_picture_is_trained_on_and_none_is_asked_or_searched(miniature):
    dataset = Voc2007(miniature)
    assert dataset.table.counts() == {"train": {"images": 20, "classes": 0}}
    assert dataset.card.counts == {"trainval": {"train": {"images": 5011, "classes": 0}}}
    assert all(dataset.image_path(row).is_file() for row in range(20))


def test_torchvision_reads_the_miniature_to_the_same_boxes(miniature):
    dataset = Voc2007(miniature)
    theirs = VOCDetection(str(miniature), year="2007", image_set="trainval")
    objects = 0
    for row, (picture, content) in enumerate(theirs):
        easy = [thing for thing in content["annotation"]["object"] if thing["difficult"] == "0"]
        corners = [[int(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax")] for thing in easy]
        expected = np.array(corners, np.float32).reshape(-1, 4) - (1, 1, 0, 0)
        assert dataset.objects(row).tolist() == expected.tolist()
        assert Path(theirs.images[row]) == dataset.image_path(row)
        assert (expected[:, 2:] <= picture.size).all()
        objects += len(content["annotation"]["object"])
    assert len(theirs) == 20
    assert objects == 7 * 1 + 7 * 2 + 6 * 3
    assert 0 < sum(len(dataset.objects(row)) for row in range(20)) < objects


def test_the_miniature_is_small_jpegs_and_the_same_bytes_every_time(miniature, tmp_path):
    again = synthesize("voc2007", tmp_path / "voc2007")
    files = sorted(p.relative_to(miniature) for p in miniature.rglob("*") if p.is_file())
    assert len(files) == 20 + 20 + 3 + 1
    assert all((miniature / file).read_bytes() == (again / file).read_bytes() for file in files)
    dataset = Voc2007(miniature)
    for row in range(20):
        with Image.open(dataset.image_path(row)) as image:
            assert image.format == "JPEG"
            assert 108 <= min(image.size) <= max(image.size) <= 152
