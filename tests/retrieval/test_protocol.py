from dataclasses import fields, replace

import pytest

from retrieval_bench.retrieval.protocol import Protocol

CUB = Protocol(dataset="cub", name="zero-shot", metrics=("recall_at_1",), main_metric="recall_at_1")
OTHER = {
    "dataset": "cars196",
    "name": "official",
    "self_match": "keep",
    "query_crop": "image",
    "image_crop": "box",
    "ties": "expected",
    "edition": "partial-0123456789ab",
}


def test_the_fingerprint_is_the_same_everywhere_and_always():
    # Results that are already published carry this value: it changes only with the meaning of their numbers.
    assert CUB.fingerprint == "fe6a0ddf74f3"


@pytest.mark.parametrize("name", OTHER)
def test_every_field_that_changes_a_number_changes_the_fingerprint(name):
    assert replace(CUB, **{name: OTHER[name]}).fingerprint != CUB.fingerprint


def test_which_metrics_are_reported_does_not():
    changed = replace(CUB, metrics=("recall_at_1", "map"), main_metric="map")
    assert changed.fingerprint == CUB.fingerprint


def test_no_field_is_forgotten_here():
    assert {f.name for f in fields(Protocol)} == set(OTHER) | {"metrics", "main_metric"}
