"""Pickles are read only if they hold plain values; whatever could run code is refused before anything runs."""

import collections
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.plain_pickle import _Plain, read_plain_pickle

VALUE = {"imlist": ["a", "b"], "gnd": [{"bbx": [136.5, 34, -1, 2**40], "ok": [0, 1], "x": (None, True, 1.5, ())}]}


def save(folder: Path, data: bytes) -> Path:
    file = folder / "gnd.pkl"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_in_every_version_of_the_format(tmp_path, protocol):
    assert read_plain_pickle(save(tmp_path, pickle.dumps(VALUE, protocol))) == VALUE


class Trap:
    """Its pickle makes a folder when it is loaded in the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path):
    trap = tmp_path / "sprung"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file = save(tmp_path, pickle.dumps({"imlist": [Trap(trap)]}, protocol))
        with pytest.raises(DataError, match=r"gnd\.pkl was not opened: it asks for"):
            read_plain_pickle(file)
        assert not trap.exists()
    with pytest.raises(pickle.UnpicklingError):  # the second lock holds alone, too
        _Plain(io.BytesIO(file.read_bytes())).load()
    assert not trap.exists()
    pickle.loads((tmp_path / "gnd.pkl").read_bytes())
    assert trap.exists()  # the trap is a real one


@pytest.mark.parametrize(
    "value", [collections.OrderedDict(a=1), {1, 2}, b"bytes", np.float64(1), np.arange(3), 1j, range(3), Path("a")]
)
def test_other_kinds_of_values_are_refused(tmp_path, value):
    with pytest.raises(DataError, match="was not opened"):
        read_plain_pickle(save(tmp_path, pickle.dumps([value])))


def test_hidden_calls_are_refused(tmp_path):
    for data in (
        b"cos\nsystem\n(S'true'\ntR.",  # GLOBAL, REDUCE
        b"(S'true'\nios\nsystem\n.",  # INST
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pobject\n.",  # PERSID
    ):
        with pytest.raises(DataError, match="was not opened"):
            read_plain_pickle(save(tmp_path, data))


def test_a_tiny_file_cannot_take_all_memory(tmp_path):
    with pytest.raises(DataError, match="places of memory"):
        read_plain_pickle(save(tmp_path, b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"."))


def test_damaged_missing_and_huge_files_are_named(tmp_path, monkeypatch):
    whole = pickle.dumps(VALUE, 2)
    for data in (b"", whole[:-5], b"not a pickle", whole[:-1] + b"a."):
        with pytest.raises(DataError, match=r"gnd\.pkl is not a readable pickle|gnd\.pkl was not opened"):
            read_plain_pickle(save(tmp_path, data))
    with pytest.raises(DataError, match=r"absent\.pkl cannot be read"):
        read_plain_pickle(tmp_path / "absent.pkl")
    monkeypatch.setattr("retrieval_bench.datasets.plain_pickle.MOST_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_plain_pickle(save(tmp_path, whole))
