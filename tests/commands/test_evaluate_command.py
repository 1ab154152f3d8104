"""Descriptors made elsewhere are scored as ours are, and stand beside them as guests."""

import hashlib

import numpy as np
import pytest
import torch

from retrieval_bench.bench.compare import compare, result_files
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.per_query import read_per_query
from retrieval_bench.bench.results import read_result
from retrieval_bench.bench.summary import GUESTS
from retrieval_bench.datasets import dataset_class
from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate_images


@pytest.fixture(scope="module")
def cub(drawn):
    return drawn("cub")


@pytest.fixture
def guest(tmp_path, cub):
    """Writes vectors of all pictures that speak of their class, as loud as asked; returns the file."""

    def write(name, loudness=1.0, seed=0):
        table = dataset_class("cub")(cub).table
        rng = np.random.default_rng(seed)
        classes = rng.normal(size=(len(table.class_names), 16))
        vectors = rng.normal(size=(len(table), 16)) + loudness * classes[table.label]
        np.savez(tmp_path / f"{name}.npz", vectors=vectors.astype(np.float32), names=np.array(table.path))
        return tmp_path / f"{name}.npz"

    return write


def test_a_guest_is_scored_on_the_path_of_our_methods(call, cub, guest, tmp_path):
    file = guest("mine")
    status, printed = call(
        *("evaluate", "cub", "--protocol", "zero-shot", "--descriptors", file, "--metric", "dot"),
        *("--root", cub, "--output", tmp_path / "results"),
    )
    place = tmp_path / "results/runs/guests/cub/mine/s0/result.json"
    assert (status, str(place) in printed) == (0, True)
    result, dataset = read_result(place), dataset_class("cub")(cub, "zero-shot")
    with np.load(file) as arrays:
        mine = Descriptors(torch.from_numpy(arrays["vectors"]), torch.arange(len(dataset.table)))
    expected = evaluate_images(mine, dataset.ground_truth, dataset.protocol)
    assert result.metrics == expected.metrics
    for metric, values in expected.per_query.items():
        query, found = read_per_query(place.with_name("per_query.npz"), metric)
        np.testing.assert_array_equal(query, expected.query)
        np.testing.assert_array_equal(found, values)
    assert (result.run.suite, result.run.method, result.run.variant) == (GUESTS, "mine", None)
    assert result.protocol == dataset.protocol
    assert result.data.fingerprint == dataset.table.fingerprint
    assert result.config["descriptors"] == {
        "file": "mine.npz",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "metric": "dot",
    }
    assert result.notes == ("scored here, made elsewhere",)
    assert result.cost.bytes_per_image == 64
    assert result.cost.ms_per_query > 0
    unknown = ("parameters", "images_per_second", "training_seconds", "peak_memory_mib")
    assert [getattr(result.cost, name) for name in unknown] == [None] * 4


def test_guests_are_compared_and_stand_in_every_table(call, cub, guest, tmp_path):
    results = tmp_path / "results"
    common = ("--data-dir", cub.parent, "--output", results)
    for name, loudness in (("loud", 3.0), ("quiet", 0.0)):
        assert call("evaluate", "cub", "--descriptors", guest(name, loudness), *common)[0] == 0
    for kind in ("md", "tex", "html"):
        table = call("leaderboard", "--results", results, "--format", kind)[1]
        assert "loud (guest)" in table
        assert table.count("scored here, made elsewhere") == 1
    assert ",guests,loud," in call("leaderboard", "--results", results, "--format", "csv")[1]
    found = compare(result_files("guests/cub/loud", results), result_files("guests/cub/quiet", results))
    assert found.paired.verdict == "better"
    printed = call("compare", "guests/cub/loud", "guests/cub/quiet", "--results", results, "--data-dir", cub.parent)[1]
    assert "R@1: A is better" in printed
    first = dataset_class("cub")(cub).table.path[found.query[found.extremes(1)[0][0]]]
    assert first in printed


def test_a_protocol_that_is_not_the_default_one_is_named_in_the_setting(call, cub, guest, tmp_path):
    common = ("--descriptors", guest("mine"), "--root", cub, "--output", tmp_path)
    for way, folder in (("zero-shot", "mine"), ("official", "mine-official")):
        assert call("evaluate", "cub", "--protocol", way, *common)[0] == 0
        assert read_result(tmp_path / f"runs/guests/cub/{folder}/s0/result.json").protocol.name == way


def test_a_guest_of_the_same_name_must_be_the_same(call, cub, guest, tmp_path):
    common = ("--root", cub, "--output", tmp_path, "--name", "mine")
    for _ in range(2):
        assert call("evaluate", "cub", "--descriptors", guest("first"), *common)[0] == 0
    with pytest.raises(BenchError, match=r"mine/s0/result.json is of another file, .*another --name"):
        call("evaluate", "cub", "--descriptors", guest("second", seed=1), *common)


def test_other_names_make_another_guest(call, cub, guest, tmp_path):
    with np.load(guest("first")) as arrays:
        np.save(tmp_path / "mine.npy", arrays["vectors"])
        names = arrays["names"].tolist()
    words = ("evaluate", "cub", "--descriptors", tmp_path / "mine.npy", "--root", cub, "--output", tmp_path)
    (tmp_path / "mine.txt").write_text("\n".join(names))
    assert call(*words)[0] == 0
    config = read_result(tmp_path / "runs/guests/cub/mine/s0/result.json").config
    assert config["names"]["sha256"] == hashlib.sha256((tmp_path / "mine.txt").read_bytes()).hexdigest()
    (tmp_path / "mine.txt").write_text("\n".join(reversed(names)))
    with pytest.raises(BenchError, match="is of another file"):
        call(*words)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x.old-1"])
def test_a_name_that_is_no_folder_is_refused(call, cub, guest, tmp_path, name):
    with pytest.raises(BenchError, match=r"--name .*a guest is named with letters"):
        call("evaluate", "cub", "--descriptors", guest("first"), "--root", cub, "--output", tmp_path, "--name", name)
    assert not (tmp_path / "runs").exists()


def test_protocols_are_those_of_the_data_set(call, cub, guest):
    with pytest.raises(OptionError, match="--protocol crop-i: cub has zero-shot, official, hashing"):
        call("evaluate", "cub", "--protocol", "crop-i", "--descriptors", guest("mine"), "--root", cub)
    with pytest.raises(OptionError, match="voc2007 is trained on only"):
        call("evaluate", "voc2007", "--descriptors", guest("mine"))


def test_what_is_refused_leaves_nothing_behind(call, cub, tmp_path):
    np.savez(tmp_path / "bad.npz", vectors=np.ones((1, 2), np.float32), names=np.array(["x.jpg"]))
    with pytest.raises(BenchError, match=r"x\.jpg"):
        call("evaluate", "cub", "--descriptors", tmp_path / "bad.npz", "--root", cub, "--output", tmp_path / "results")
    assert not (tmp_path / "results").exists()
