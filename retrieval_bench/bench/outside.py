"""Descriptors made elsewhere: read, named, and checked picture by picture against a data set."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.files import BROKEN_ARRAYS
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.retrieval.descriptors import Descriptors, Metric, load_sides

OutsideMetric = Literal["cosine", "dot", "euclidean", "hamming"]
QUERY = "query:"
"""Before the path of a picture: it as a query, where it is searched as well and each has a row of its own."""

_ARRAYS = ("descriptors", "vectors")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 3


def read_outside(
    path: Path, dataset: RetrievalDataset, *, metric: OutsideMetric | None = None, names: Path | None = None
) -> tuple[Descriptors, Descriptors]:
    """Read descriptors of all queries and all searched pictures of a data set.

    Args:
        path: An ``.npz`` file with an array ``descriptors`` or ``vectors`` and an array ``names``; a ``.safetensors``
            or ``.npy`` file with the names in a text file; or what ``predict`` wrote. Names are paths as in the sample
            table.
        dataset: The data set, under its protocol.
        metric: How they are compared: by default vectors by the cosine and packed codes by the Hamming distance, and
            what ``predict`` wrote as it says itself.
        names: The text file, one name a line; by default the one beside the descriptors that ends in ``.txt``.

    Returns:
        What asks and what is searched: the same object, but where a method of ours describes the two differently.

    Raises:
        BenchError: If the file is none of these, holds other pictures than the protocol needs, or a picture twice, or
            values that are no finite numbers. The message names the first offenders and says how many there are.
    """
    if not path.is_file():
        raise BenchError(f"{path}: there is no such file of descriptors")
    pictures = _Pictures(dataset)
    sides = _read_predicted(path, dataset.protocol.label, metric, names)
    if sides is not None:
        rows = torch.unique(torch.cat([side.image for side in sides])).tolist()
        if strange := [f"row {row}" for row in rows if not 0 <= row < len(dataset.table)]:
            raise BenchError(
                f"{path}: {_some(strange, len(rows))} are not in the sample table, which has {len(dataset.table)} "
                "rows: it was written from other data"
            )
    else:
        data, listed = _read_named(path, names)
        data = _comparable(path, data, metric, listed)
        rows = pictures.rows(path, listed)
        lent = pictures.lent(rows)
        data = torch.cat([data, data[[place for _, place in lent]]])
        image = torch.tensor([*rows, *(row for row, _ in lent)], dtype=torch.int64)
        found = Descriptors(data, image, _kind(data, metric))
        sides = found, found
    pictures.demand_all(path, *sides)
    return sides


def names_file(path: Path, names: Path | None) -> Path | None:
    """The text file that names the rows: the given one, or the one beside an array that has no names of its own."""
    return names or (None if path.suffix == ".npz" else path.with_suffix(".txt"))


class _Pictures:
    """The pictures of a data set by the names that files of descriptors give them."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._dataset, self._table = dataset, dataset.table
        self._searched: dict[str, int] = {}
        for row, path in enumerate(self._table.path):
            self._searched.setdefault(path, row)  # a query with a row of its own comes after the searched picture
        asking = {f"{QUERY}{self._table.path[row]}": row for row in self._table.rows("query").tolist()}
        self._known = self._searched | asking

    def name(self, row: int) -> str:
        """What a row is called."""
        path = self._table.path[row]
        return path if self._searched[path] == row else f"{QUERY}{path}"

    def rows(self, file: Path, names: Sequence[str]) -> list[int]:
        """The row that each name means."""
        if unknown := [name for name in names if name not in self._known]:
            raise BenchError(
                f"{file}: {_some(unknown, len(names))} are no pictures of {self._dataset.name}, whose names read like "
                f"{self._table.path[0]}"
            )
        rows = [self._known[name] for name in names]
        if twice := [self.name(row) for row, times in Counter(rows).items() if times > 1]:
            raise BenchError(f"{file}: {_some(twice, len(set(rows)))} are there more than once")
        return rows

    def lent(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Queries that nobody crops take the descriptor of their searched picture: their rows, and its place."""
        if self._dataset.protocol.query_crop != "none":
            return []
        place = {row: i for i, row in enumerate(rows)}
        own = [row for row in self._table.rows("query").tolist() if row not in place]
        twins = [(row, self._searched[self._table.path[row]]) for row in own]
        return [(row, place[twin]) for row, twin in twins if twin in place]

    def demand_all(self, file: Path, query: Descriptors, gallery: Descriptors) -> None:
        """Refuse what lacks a picture that the protocol needs."""
        truth = self._dataset.ground_truth
        needed = (truth.query, query), (truth.gallery, gallery)
        if missing := set().union(
            *(set(rows.tolist()) - set(torch.unique(side.image).tolist()) for rows, side in needed)
        ):
            every = len(np.union1d(truth.query, truth.gallery))
            raise BenchError(
                f"{file}: {_some([self.name(row) for row in sorted(missing)], every)} are missing, which protocol "
                f"{self._dataset.protocol.name} of {self._dataset.name} needs"
            )


def _read_predicted(
    path: Path, label: str, metric: OutsideMetric | None, names: Path | None
) -> tuple[Descriptors, Descriptors] | None:
    """What ``predict`` wrote, None if the file is another."""
    if path.suffix != ".npz":
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = set(file.files)
            if not ({"data", "image", "metric"} <= arrays or {"query_data", "gallery_data"} & arrays):
                return None
            made_for = str(file["made_for"]) if "made_for" in arrays else label
        sides = load_sides(path)
    except BROKEN_ARRAYS as error:
        raise _no_descriptors(path, error) from error
    if made_for != label:
        raise BenchError(
            f"{path}: `predict` wrote this for {made_for} (data set, protocol and its fingerprint), not for {label}: "
            "evaluate it under the same protocol and with the same pictures"
        )
    made = sides[1].metric
    if names is not None or metric not in (None, made):
        option = "--names" if names is not None else f"--metric {metric}"
        raise BenchError(f"{path}: `predict` wrote this, which says itself that it is {made}; leave out {option}")
    for side in sides:
        rows = torch.unique(side.image)
        bad = torch.isin(rows, side.image[~torch.isfinite(side.data).all(dim=1)])
        _refuse(path, bad, [f"row {row}" for row in rows.tolist()], "are not finite")
    return sides


def _read_named(path: Path, names: Path | None) -> tuple[Tensor, list[str]]:
    """An array with a row for each name."""
    try:
        if path.suffix == ".npz":
            data, named = _read_npz(path, texts=names is None)
        elif path.suffix == ".npy":
            data, named = torch.from_numpy(np.load(path, allow_pickle=False)), []
        elif path.suffix == ".safetensors":
            data, named = _read_safetensors(path), []
        else:
            raise BenchError(f"{path}: descriptors are read from .npz, .npy and .safetensors, not {path.suffix!r}")
    except BROKEN_ARRAYS as error:
        if str(error).startswith("Object arrays"):  # what NumPy suggests would run whatever the file says
            raise BenchError(f"{path}: it holds Python objects; save names as texts, with .astype(str)") from error
        raise _no_descriptors(path, error) from error
    if (listed := names_file(path, names)) is not None:
        named = _read_names(path, listed)
    if data.ndim != 2 or not data.shape[1]:
        raise BenchError(f"{path}: expected one row of numbers a picture, found the shape {tuple(data.shape)}")
    if len(data) != len(named):
        raise BenchError(f"{path}: {len(data)} descriptors and {len(named)} names")
    return data, named


def _read_npz(path: Path, *, texts: bool) -> tuple[Tensor, list[str]]:
    """The array, and its names where they are asked for."""
    with np.load(path, allow_pickle=False) as file:
        key = next((key for key in _ARRAYS if key in file.files), None)
        if key is None:
            raise BenchError(f"{path}: it has no array {' or '.join(_ARRAYS)}; found {', '.join(file.files) or 'none'}")
        data = torch.from_numpy(file[key])
        if not texts:
            return data, []
        if "names" not in file.files:
            raise BenchError(f"{path}: it has no array names; add one of texts, or give a text file with --names")
        named = file["names"]
    if named.ndim != 1 or named.dtype.kind not in "US":
        raise BenchError(f"{path}: names is {named.dtype} of shape {named.shape}, expected a list of texts")
    return data, [n.decode() if isinstance(n, bytes) else n for n in named.tolist()]


def _read_safetensors(path: Path) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    key = next((key for key in (*_ARRAYS, *tensors) if key in tensors), None)
    if key is None or (key not in _ARRAYS and len(tensors) > 1):
        raise BenchError(f"{path}: it has no tensor {' or '.join(_ARRAYS)}; found {', '.join(tensors) or 'none'}")
    return tensors[key]


def _read_names(path: Path, file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # editors of some systems begin a text with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BenchError(
            f"{path}: there are no names of its rows in {file} ({reason}); say with --names where they are"
        ) from error
    # Not splitlines, which also ends a line at characters that a file's name may have.
    return text.removesuffix("\n").split("\n") if text else []


def _kind(data: Tensor, metric: OutsideMetric | None) -> Metric:
    if data.dtype == torch.uint8:
        return "hamming"
    return "euclidean" if metric == "euclidean" else "dot"


def _comparable(path: Path, data: Tensor, metric: OutsideMetric | None, names: Sequence[str]) -> Tensor:
    """Codes as they are, or float32 vectors, of length 1 where their angles are compared."""
    codes = data.dtype == torch.uint8
    if not codes and data.dtype not in _FLOATS:
        raise BenchError(f"{path}: expected floating-point vectors or uint8 packed codes, found {data.dtype}")
    if metric is not None and codes != (metric == "hamming"):
        raise BenchError(
            f"{path}: {data.dtype} cannot be compared by {metric}: hamming is for uint8 packed codes, all else for "
            "floating-point vectors"
        )
    if codes:
        return data
    bad = ~torch.isfinite(data.float()).all(dim=1)
    _refuse(path, bad, names, "are not finite (nan, infinite, or beyond float32)")
    if metric in (None, "cosine"):
        length = torch.linalg.vector_norm(data.double(), dim=1, keepdim=True)
        _refuse(path, length[:, 0] == 0, names, "are zero, which has no cosine")
        data = data.double() / length
    return data.float()


def _no_descriptors(path: Path, error: Exception) -> BenchError:
    return BenchError(f"{path}: this is no file of descriptors ({error}); `evaluate --help` says what is read")


def _refuse(path: Path, bad: Tensor, names: Sequence[str], what: str) -> None:
    if bad.any():
        raise BenchError(f"{path}: {_some([names[i] for i in bad.nonzero()[:, 0].tolist()], len(names))} {what}")


def _some(names: Sequence[str], of: int) -> str:
    """The first names and how many there are."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} of {of} ({', '.join(names[:_SHOWN])}{more})"
