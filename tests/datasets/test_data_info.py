"""The real annotation files read to the published counts, and parts of data sets are told from the whole."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval_bench.commands import data
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.base import RetrievalDataset

# As published: (images, classes) of train, query and gallery.
PUBLISHED = [
    ("cub", "cub", "zero-shot", (5864, 100), (5924, 100), (5924, 100)),
    ("cub", "cub", "official", (5994, 200), (5794, 200), (5794, 200)),
    ("cub", "cub", "hashing", (5994, 200), (5794, 200), (5994, 200)),
    ("cars196", "cars196", "zero-shot", (8054, 98), (8131, 98), (8131, 98)),
    ("inshop", "inshop", "query-gallery", (25882, 3997), (14218, 3985), (12612, 3985)),
]
# What the parts hold: (folder, data set, protocol) and the same numbers.
PARTS = [
    ("cub_100", "cub", "zero-shot", (3428, 58), (2474, 42), (2474, 42)),
    ("cub_100", "cub", "official", (2951, 100), (2951, 100), (2951, 100)),
    ("cub_originals", "cub", "zero-shot", (400, 25), None, None),
    ("cub_originals", "cub", "official", (222, 25), (178, 25), (178, 25)),
    ("cub_originals", "cub", "hashing", (222, 25), (178, 25), (222, 25)),
    ("cars_50", "cars196", "zero-shot", (400, 25), (400, 25), (400, 25)),
]

pytestmark = pytest.mark.data


def as_counts(*roles: tuple[int, int] | None) -> dict[str, dict[str, int]]:
    named = zip(("train", "query", "gallery"), roles, strict=True)
    return {role: {"images": x[0], "classes": x[1]} for role, x in named if x is not None}


@pytest.fixture(scope="module")
def read(shared: Path) -> Callable[..., RetrievalDataset]:
    cache: dict[tuple[str, ...], RetrievalDataset] = {}

    def read(place: str, name: str, protocol: str) -> RetrievalDataset:
        key = (place, name, protocol)
        if key not in cache:
            cache[key] = dataset_class(name)(shared / place, protocol)
        return cache[key]

    return read


@pytest.mark.parametrize(("folder", "name", "protocol", "train", "query", "gallery"), PUBLISHED)
def test_the_real_annotations_read_to_the_published_counts(read, folder, name, protocol, train, query, gallery):
    dataset = read(f"annotations/{folder}", name, protocol)
    assert dataset.table.counts() == as_counts(train, query, gallery)
    assert dataset.protocol.edition == "original"
    assert dataset.missing_annotations() == []


@pytest.mark.parametrize(("folder", "name", "protocol", "train", "query", "gallery"), PARTS)
def test_a_part_reads_as_a_partial_edition(read, folder, name, protocol, train, query, gallery):
    dataset = read(f"sets/{folder}", name, protocol)
    assert dataset.table.counts() == as_counts(train, query, gallery)
    assert dataset.protocol.edition == f"partial-{dataset.table.fingerprint}"
    assert dataset.image_path(0).is_file()
    assert dataset.image_path(len(dataset.table) - 1).is_file()


@pytest.mark.parametrize(("name", "classes"), [("cub", 100), ("cars196", 98)])
def test_no_class_is_on_both_sides_of_a_zero_shot_split(read, name, classes):
    table = read(f"annotations/{name}", name, "zero-shot").table
    train = set(table.label[table.is_train].tolist())
    assert train == set(range(classes))
    assert train.isdisjoint(table.label[table.is_query].tolist())


def test_all_cars_are_pooled_before_the_class_split(read):
    table = read("annotations/cars196", "cars196", "zero-shot").table
    assert len(table) == 8144 + 8041 == 16185
    official_train = [path.startswith("cars_train/") for path in table.path]
    assert sum(official_train) == 8144
    assert 0 < sum(a and b for a, b in zip(official_train, table.is_train.tolist(), strict=True)) < 8054


def test_no_garment_is_in_training_and_search_and_every_query_has_a_match(read):
    dataset = read("annotations/inshop", "inshop", "query-gallery")
    table = dataset.table
    assert len(table) == 52712
    assert len(table.class_names) == 3997 + 3985
    assert not set(table.label[table.is_train].tolist()) & set(table.label[table.is_query].tolist())
    assert dataset.ground_truth.positives.lengths.min() >= 1


def test_boxes_of_the_originals_start_inside_and_end_after_they_start(read):
    for name in ("cub", "cars196"):
        box = read(f"annotations/{name}", name, "zero-shot").table.box
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] > box[:, :2]).all()


def test_fingerprints_of_the_originals_do_not_move(read):
    # Recorded once: results on disk carry them, so a change here makes old results incomparable.
    places = {("cub", "zero-shot"), ("cub", "official"), ("cars196", "zero-shot")}
    found = {place: read(f"annotations/{place[0]}", *place).table.fingerprint for place in places}
    assert found == {
        ("cub", "zero-shot"): "706a0f3d07b3",
        ("cub", "official"): "e82e36f3bd2e",
        ("cars196", "zero-shot"): "a996835cc8b8",
    }


@pytest.mark.parametrize("name", ["cub", "cars196", "inshop"])
def test_the_command_prints_what_was_read_beside_what_was_published(name, shared, capsys):
    parser = argparse.ArgumentParser()
    data.add(parser.add_subparsers())
    args = parser.parse_args(["data", "info", name, "--root", str(shared / "annotations" / name), "--json"])
    assert args.handler(args) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    expected = {row[2]: as_counts(*row[3:]) for row in PUBLISHED if row[1] == name}
    assert facts["counts"] == expected
    assert facts["published"] == expected
    assert set(facts["editions"].values()) == {"original"}
