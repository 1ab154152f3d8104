"""Cards: every fact is checked when it is read, and a mistake is named with its file and key."""

from pathlib import Path

import pytest
import yaml

from retrieval_bench.datasets import DATASETS, cards, dataset_class
from retrieval_bench.datasets.cards import Card, card_names, load_card, read_card
from retrieval_bench.datasets.errors import DataError

GOOD = {
    "key": "birds",
    "title": "Some birds",
    "homepage": "https://example.org",
    "citation": "@misc{birds}",
    "terms": "free",
    "download": "automatic",
    "archives": [{"file": "birds.tgz", "url": "https://example.org/birds.tgz", "md5": "0" * 32}],
    "unpacked": ["birds/images.txt"],
    "counts": {"official": {"train": {"images": 3, "classes": 2}}},
}


def read(folder: Path, **changes: object) -> Card:
    facts = {k: v for k, v in (GOOD | changes).items() if v is not ...}
    file = folder / "birds.yaml"
    file.write_text(yaml.safe_dump(facts))
    return read_card(file)


def test_a_card_is_read_into_its_facts(tmp_path):
    card = read(tmp_path)
    assert card.archives[0].md5 == "0" * 32
    assert card.archives[0].sha256 is None
    assert card.archives[0].bytes is None
    assert card.counts == {"official": {"train": {"images": 3, "classes": 2}}}
    assert card.image_size is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"citaton": "x"}, ["unknown key 'citaton'", "did you mean 'citation'?"]),
        ({"terms": ...}, ["there is no key 'terms'"]),
        ({"title": 3}, ["title", "a text", "3"]),
        ({"key": "bird"}, ["key", "'birds'"]),
        ({"download": "maybe"}, ["download", "automatic or manual", "'maybe'"]),
        ({"download": "manual"}, ["manual_reason", "a text"]),
        ({"manual_reason": "because"}, ["manual_reason", "left out"]),
        ({"archives": [{"file": "a.tgz", "md5": "0" * 32}]}, ["archives[0].url", "an address"]),
        ({"archives": [{"file": "../a.tgz", "url": "x"}]}, ["archives[0].file", "plain file name"]),
        ({"archives": [{"file": "a.tgz", "url": "x", "md5": "ABC"}]}, ["archives[0].md5", "32 lower-case"]),
        ({"archives": [{"file": "a.tgz", "url": "x", "bytes": "big"}]}, ["archives[0].bytes", "positive"]),
        ({"archives": [{"file": "a.tgz", "uri": "x"}]}, ["unknown key 'archives[0].uri'", "did you mean 'url'?"]),
        ({"archives": "a.tgz"}, ["archives", "a list of archives"]),
        ({"unpacked": "images.txt"}, ["unpacked", "a list of paths"]),
        ({"counts": {}}, ["counts", "{protocol:"]),
        (
            {"counts": {"official": {"test": {"images": 3, "classes": 2}}}},
            ["counts", "train, query or gallery", "'test'"],
        ),
        ({"counts": {"official": {"train": {"images": "3", "classes": 2}}}}, ["counts", "images: N", "'3'"]),
        ({"image_size": [256]}, ["image_size", "[width, height]"]),
        ({"editions": ["original"]}, ["editions", "a sentence"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, changes, words):
    with pytest.raises(DataError) as error:
        read(tmp_path, **changes)
    assert str(tmp_path / "birds.yaml") in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    (tmp_path / "birds.yaml").write_text("key: [unclosed")
    with pytest.raises(DataError, match=r"birds\.yaml: not a YAML file"):
        read_card(tmp_path / "birds.yaml")


def test_a_card_of_a_fetchable_set_says_both_ways_to_get_it(tmp_path):
    text = read(tmp_path).how_to_get()
    assert "`retrieval-bench data download birds --root DIR`" in text
    assert "point --root (or RETRIEVAL_BENCH_DATA) at a folder you already have" in text
    assert "`retrieval-bench data synthesize birds --root DIR`" in text


def test_a_card_of_a_set_to_be_fetched_by_hand_says_why(tmp_path):
    text = read(tmp_path, download="manual", manual_reason="ask the birds").how_to_get()
    assert "by hand (ask the birds)" in text
    assert "data download" not in text
    assert "point --root (or RETRIEVAL_BENCH_DATA)" in text


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_each_reader_has_a_card_with_counts_for_each_of_its_protocols(name):
    card, kind = load_card(name), dataset_class(name)
    assert set(card.counts) == {p.name for p in kind.protocols}
    # Landmarks have nothing to train on, distractors nobody to ask either; on VOC proposals are learned, no more.
    roles = {"flickr100k": {"gallery"}, "voc2007": set()}.get(name, {"query", "gallery"})
    untrained = name.endswith(("5k", "6k")) or name == "flickr100k"
    assert all(set(found) == roles | (set() if untrained else {"train"}) for found in card.counts.values())
    assert "original" in card.editions
    assert card.citation.startswith("@")


def test_every_card_has_a_reader():
    assert set(card_names()) == set(DATASETS)


@pytest.mark.parametrize("find", [load_card, dataset_class])
def test_an_unknown_name_lists_the_known_ones_and_suggests_the_closest(find):
    with pytest.raises(DataError, match=r"'cars'; did you mean 'cars196'\? Known: .*cub"):
        find("cars")


def test_cards_that_are_not_beside_the_package_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "CARDS", tmp_path / "datasets")
    with pytest.raises(DataError, match=r"no folder .*datasets.*pip install -e"):
        card_names()
