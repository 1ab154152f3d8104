"""Results with the values of their queries beside them, for tests of comparisons."""

from dataclasses import replace

import numpy as np
import pytest
from bench_cases import METRICS

from retrieval_bench.bench.per_query import write_per_query
from retrieval_bench.bench.results import write_result


@pytest.fixture
def store_queries(tmp_path, make_result):
    """Writes the runs of a setting, one for each row of ``(seeds, q)`` values; returns their result files.

    The values are of ``recall_at_1``; those of ``recall_at_2`` are their halves.
    """

    def write(values, *, query=None, **facts):
        files = []
        for seed, of_seed in enumerate(np.asarray(values, np.float64)):
            numbers = dict(zip(METRICS, (of_seed, of_seed / 2), strict=True))
            result = make_result(seed=seed, **facts)
            result = replace(result, metrics={key: float(np.nanmean(v)) for key, v in numbers.items()})
            file = tmp_path / "results" / "runs" / result.run.suite / result.run.name / "result.json"
            write_result(file, result)
            rows = np.arange(len(of_seed)) if query is None else np.asarray(query)
            write_per_query(file.with_name("per_query.npz"), rows, numbers)
            files.append(file)
        return files

    return write
