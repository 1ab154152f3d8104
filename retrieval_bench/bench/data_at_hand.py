"""The data set that a result was measured on, if the very same one is at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.bench.results import Result
from retrieval_bench.errors import RetrievalBenchError

if TYPE_CHECKING:
    from retrieval_bench.datasets.base import RetrievalDataset


def dataset_at_hand(result: Result, data_dir: Path | None) -> "RetrievalDataset | None":
    """The data set whose sample table has the fingerprint of a result, None if it is in no usual place.

    Args:
        result: What was measured.
        data_dir: The folder of all data sets; the usual one, and where the run found its data, if None.
    """
    from retrieval_bench.datasets import DATASETS, dataset_class
    from retrieval_bench.datasets.base import default_root

    name, protocol = result.run.dataset, result.protocol.name
    if name not in DATASETS or protocol not in {known.name for known in dataset_class(name).protocols}:
        return None
    above = data_dir or default_root(name).parent
    places = [above / name, above / "miniature" / name]
    if data_dir is None and isinstance(root := _root(result.config), str):
        places.append(Path(root))
    for place in places:
        try:
            dataset = dataset_class(name)(place, protocol)
            if dataset.table.fingerprint == result.data.fingerprint:
                return dataset
        except RetrievalBenchError:
            continue  # it is not there, or not whole
    return None


def _root(config: Any) -> Any:
    """The folder that a run read its data from."""
    for name in ("data", "init_args", "root"):
        config = config.get(name) if isinstance(config, dict) else None
    return config
