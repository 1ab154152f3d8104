"""What the ``data`` commands ask of a folder before they read or write it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval_bench.datasets.base import RetrievalDataset


def find_dataset(name: str, root: Path) -> "RetrievalDataset | None":
    """The data set in a folder, None if it is not there."""
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.datasets.errors import DatasetNotFoundError

    try:
        return dataset_class(name)(root)
    except DatasetNotFoundError:
        return None


def refuse_foreign(folder: Path, allowed: Iterable[str] = ()) -> None:
    """Stop before anything is written among files that are not ours.

    Args:
        folder: Where to write.
        allowed: Names of files that may lie there.

    Raises:
        DataError: If the folder is a file, or holds something else.
    """
    from retrieval_bench.datasets.errors import DataError

    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder to write into")
    if not folder.exists():
        return
    strangers = sorted({entry.name for entry in os.scandir(folder)} - set(allowed))
    if strangers:
        raise DataError(
            f"{folder} is not empty (it holds {strangers[0]}"
            f"{f' and {len(strangers) - 1} more' if len(strangers) > 1 else ''}); name an empty folder or a new one"
        )
