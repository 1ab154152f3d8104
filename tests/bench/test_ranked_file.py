"""The file of ranked results: what is written comes back, what is something else is named."""

from dataclasses import replace

import numpy as np
import pytest

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.ranked import Ranked, read_ranked, write_ranked

RANKED = Ranked(
    query=np.array([7, 9]),
    image=np.array([[9, 3], [7, -1]]),
    score=np.array([[0.5, 0.25], [0.5, np.nan]], np.float32),
    relevance=np.array([[1, -1], [0, 0]], np.int8),
    box=np.full((2, 2, 4), np.nan, np.float32),
)


def test_what_is_written_comes_back_and_leaves_nothing_beside_it(tmp_path):
    write_ranked(tmp_path / "ranked.npz", RANKED)
    again = read_ranked(tmp_path / "ranked.npz")
    for name in ("query", "image", "score", "relevance", "box"):
        np.testing.assert_array_equal(getattr(again, name), getattr(RANKED, name), strict=True)
    assert [p.name for p in tmp_path.iterdir()] == ["ranked.npz"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": np.array([7])},
        {"image": np.array([9, 3])},
        {"score": np.zeros((2, 2))},
        {"box": np.zeros((2, 2), np.float32)},
    ],
)
def test_arrays_of_another_type_or_shape_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(RANKED, **wrong)


def test_a_file_that_is_none_is_one_line_that_names_it(tmp_path):
    file = tmp_path / "ranked.npz"
    with pytest.raises(RecordError, match=r"ranked\.npz: there is no such file"):
        read_ranked(file)
    file.write_bytes(b"nothing")
    with pytest.raises(RecordError, match=r"ranked\.npz: this is no file of ranked results"):
        read_ranked(file)
    np.savez(file, query=RANKED.query)
    with pytest.raises(RecordError, match=r"ranked\.npz: .*image"):
        read_ranked(file)
    write_ranked(file, RANKED)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(RecordError, match=r"ranked\.npz: this is no file of ranked results"):
        read_ranked(file)
    write_ranked(file, RANKED)
    wrong = bytearray(file.read_bytes())
    wrong[wrong.index(b"query.npy") + len(b"query.npy") + 20] = 0xFF  # in what was compressed
    file.write_bytes(wrong)
    with pytest.raises(RecordError, match=r"ranked\.npz: this is no file of ranked results"):
        read_ranked(file)
    with file.open("wb") as stream:
        np.save(stream, RANKED.query)
    with pytest.raises(RecordError, match=r"ranked\.npz: this is no file of ranked results"):
        read_ranked(file)
