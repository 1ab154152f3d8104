"""Whose pictures statistics are learned from: those of training, or the gallery where there are none."""

from pathlib import Path

from retrieval_bench.datamodules.samplers import IntArray
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DatasetNotFoundError
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.errors import OptionError


def reference_dataset(
    key: str, evaluated: RetrievalDataset, home: str | Path, root: str | Path | None = None
) -> RetrievalDataset:
    """Another data set that statistics are learned from; a miniature's is drawn where it is missing.

    Args:
        key: Its key.
        evaluated: The data set they are learned for.
        home: The folder of that one.
        root: The folder of the other; by default beside it.

    Raises:
        DatasetNotFoundError: If it is not at hand.
    """
    kind = dataset_class(key)
    if root is not None:
        return kind(root)
    beside = Path(home).parent / kind.name
    if evaluated.is_miniature:
        synthesize(kind.name, beside)
    try:
        return kind(beside)
    except DatasetNotFoundError as error:
        raise DatasetNotFoundError(
            f"{error} Statistics for {evaluated.name} are learned from it; if it lies elsewhere, say "
            "--data.reference_root"
        ) from error


def reference_rows(reference: RetrievalDataset) -> IntArray:
    """The rows of a data set that statistics are learned from."""
    table = reference.table
    return table.rows("train" if table.is_train.any() else "gallery")


def own_reference_rows(dataset: RetrievalDataset) -> IntArray:
    """The same of the data set that is evaluated itself.

    Raises:
        OptionError: If there is nothing to train on: the gallery must not be learned from.
    """
    if not dataset.table.is_train.any():
        raise OptionError(
            f"{dataset.name} has no training pictures that statistics could be learned from: name another "
            "data set with --data.reference"
        )
    return reference_rows(dataset)


def reference_words(reference: RetrievalDataset) -> str:
    """What ``reference_rows`` shows, in words, for the notes of a result."""
    kind = "training pictures" if reference.table.is_train.any() else "pictures"
    return f"the {len(reference_rows(reference)):,} {kind} of {reference.name}"
