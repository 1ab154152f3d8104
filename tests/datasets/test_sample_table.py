"""The sample table: what it counts, what it refuses, and its fingerprint."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import RaggedLists


def table(**changes: object) -> SampleTable:
    columns = {
        "path": ("a.jpg", "b.jpg", "c.jpg", "d.jpg"),
        "label": np.array([0, 1, 1, -1], np.int64),
        "class_names": ("cat", "dog"),
        "is_train": np.array([True, False, False, True]),
        "is_query": np.array([False, True, False, False]),
        "is_gallery": np.array([False, True, True, False]),
    }
    return SampleTable(**(columns | changes))  # type: ignore[arg-type]


def test_counts_leave_out_images_without_a_class_from_the_classes():
    assert table().counts() == {
        "train": {"images": 2, "classes": 1},
        "query": {"images": 1, "classes": 1},
        "gallery": {"images": 2, "classes": 1},
    }


def test_a_role_that_nobody_has_is_not_counted():
    nobody = np.zeros(4, np.bool_)
    assert set(table(is_query=nobody, is_gallery=nobody).counts()) == {"train"}


def test_rows_of_a_role_are_row_numbers():
    rows = table().rows("gallery")
    assert rows.tolist() == [1, 2]
    assert rows.dtype == np.int64


def test_ground_truth_by_label_excludes_the_query_as_junk():
    truth = table().ground_truth(exclude_self=True)
    assert [x.tolist() for x in truth.positives] == [[2]]
    assert [x.tolist() for x in truth.junk] == [[1]]
    truth = table().ground_truth(exclude_self=False)
    assert [x.tolist() for x in truth.positives] == [[1, 2]]
    assert [x.tolist() for x in truth.junk] == [[]]


def test_ground_truth_by_lists_is_taken_as_it_is():
    given = table(positives=RaggedLists.from_lists([[2]]), junk=RaggedLists.from_lists([[3]]))
    truth = given.ground_truth(exclude_self=True)
    assert [x.tolist() for x in truth.positives] == [[2]]
    assert [x.tolist() for x in truth.junk] == [[3, 1]]
    assert [x.tolist() for x in given.ground_truth(exclude_self=False).junk] == [[3]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": np.zeros(3, np.int64)}, "label has 3 rows, path has 4"),
        ({"is_query": np.zeros(5, np.bool_)}, "is_query has 5 rows, path has 4"),
        ({"box": np.zeros((4, 2), np.float32)}, r"box must have shape \(4, 4\), got \(4, 2\)"),
        ({"label": np.array([0, 1, 2, 0])}, "index into the 2 class names, got 0 to 2"),
        ({"label": np.array([0, 1, -2, 0])}, "index into the 2 class names, got -2 to 1"),
        ({"positives": RaggedLists.from_lists([[2], [1]])}, "positives has 2 lists, there are 1 queries"),
        ({"junk": RaggedLists.from_lists([])}, "junk has 0 lists, there are 1 queries"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        table(**changes)


def test_the_fingerprint_is_the_digest_of_the_cells():
    cells = b"a.jpg\nb.jpg\nc.jpg\nd.jpg"
    cells += b"".join(x.to_bytes(8, "little", signed=True) for x in (0, 1, 1, -1))
    cells += bytes([1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0])
    assert table().fingerprint == hashlib.sha256(cells).hexdigest()[:12]


def test_every_cell_moves_the_fingerprint():
    box = np.zeros((4, 4), np.float32)
    tables = [
        table(),
        table(path=("a.jpg", "b.jpg", "c.jpg", "e.jpg")),
        table(label=np.array([0, 1, 1, 0])),
        table(is_train=np.array([True, True, False, True])),
        table(is_query=np.array([False, False, True, False])),
        table(is_gallery=np.array([False, True, True, True])),
        table(box=box),
        table(box=box + 1),
        table(positives=RaggedLists.from_lists([[2]])),
        table(positives=RaggedLists.from_lists([[3]])),
        table(junk=RaggedLists.from_lists([[2]])),
    ]
    assert len({t.fingerprint for t in tables}) == len(tables)


def test_the_fingerprint_does_not_depend_on_the_machines_number_types():
    same = replace(table(), label=table().label.astype(np.int32))
    assert same.fingerprint == table().fingerprint
