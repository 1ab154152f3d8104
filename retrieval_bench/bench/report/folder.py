"""A folder that is renewed whole: written aside, then put in the place of the old one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval_bench.bench.errors import BenchError

MARKER = ".retrieval-bench-report"
"""A file that says a folder is a report, which a new one may take the place of."""


@contextmanager
def renewed(folder: Path) -> Iterator[Path]:
    """A new folder to write to, which takes the old one's place at the end, or vanishes if anything goes wrong.

    Args:
        folder: Where it will be.

    Raises:
        BenchError: If something else than an earlier report is there.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder / MARKER).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{folder} is no earlier report, and would be replaced; name another place with --output")
    part = folder.with_name(f"{folder.name}-{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process of this number that was killed
    part.mkdir(parents=True)
    try:
        (part / MARKER).touch()
        yield part
        _swap(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _swap(part: Path, folder: Path) -> None:
    if not folder.exists():
        part.rename(folder)
        return
    old = folder.with_name(f"{folder.name}-{os.getpid()}-old.part")
    folder.rename(old)
    try:
        part.rename(folder)
    except BaseException:
        if not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)  # where another process has put its own report meanwhile, too
