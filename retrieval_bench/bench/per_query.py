"""The values of every query of a run: the file beside its result that statistics are made from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.files import BROKEN_ARRAYS, write_arrays
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import Result

PER_QUERY_FILE = "per_query.npz"
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def write_per_query(path: Path, query: IntArray, values: Mapping[str, FloatArray]) -> None:
    """Write what ``read_per_query`` reads, whole or not at all.

    Args:
        path: The file.
        query: ``(q,)`` rows of the sample table.
        values: By metric ``(q,)`` values, ``nan`` where a query has none.
    """
    write_arrays(path, {"query": query, **values})


def per_query_file(file: Path, result: Result) -> Path | None:
    """The file of a result's queries if it is there.

    Args:
        file: The result's own file.
        result: What it holds.
    """
    path = file.parent / result.per_query if result.per_query else None
    return path if path is not None and path.is_file() else None


def read_per_query(path: Path, metric: str) -> tuple[IntArray, FloatArray]:
    """Read the values of one metric.

    Args:
        path: The file.
        metric: The metric's key.

    Returns:
        ``(q,)`` rows of the sample table, and their ``(q,)`` values.

    Raises:
        RecordError: If it is no such file, or has no such metric.
    """
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream) as file:
            names = [name for name in file.files if name != "query"]
            if metric not in names:
                raise RecordError(f"{path}: it has no metric {metric}{suggestion(metric, names)}")
            query, values = np.asarray(file["query"], np.int64), np.asarray(file[metric], np.float64)
    except KeyError as error:
        raise RecordError(f"{path}: {error.args[0]}; this is no file of queries") from error
    except BROKEN_ARRAYS as error:
        raise RecordError(f"{path}: this is no file of queries ({error})") from error
    if query.ndim != 1 or query.shape != values.shape:
        raise RecordError(f"{path}: {metric} has shape {values.shape} for queries of shape {query.shape}")
    return query, values
