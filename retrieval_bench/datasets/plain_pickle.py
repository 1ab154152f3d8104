"""Pickles that hold nothing but lists, tuples, dictionaries, numbers and text, read so that they can build no more."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from retrieval_bench.datasets.annotations import UNPACK_AGAIN
from retrieval_bench.datasets.errors import DataError

MOST_BYTES = 2**26  # the published ground truths have less than one percent of it

# What such values need. Missing on purpose: whatever imports, calls, or makes an object (GLOBAL, REDUCE, BUILD, ...).
_PLAIN = frozenset(
    {
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
        "GET",
        "BINGET",
        "LONG_BINGET",
    }
)


def read_plain_pickle(file: Path) -> Any:
    """Read a pickle of plain values.

    Every instruction is looked at before the first is followed, so that a file that would import or call anything is
    refused as a whole.

    Args:
        file: The pickle.

    Raises:
        DataError: If the file is missing, damaged, far too large, or holds anything but plain values.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DataError(f"{file} has more than {MOST_BYTES:,} bytes, which no ground truth has; {UNPACK_AGAIN}")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        why = _objection(data)
        content = None if why else _Plain(io.BytesIO(data), encoding="utf-8").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{file} is not a readable pickle ({error}); {UNPACK_AGAIN}") from error
    if why:
        raise DataError(
            f"{file} was not opened: {why}, and a pickle that does more than hold lists, numbers and text may run "
            "anything on this machine. Take the ground truth from its authors' page"
        )
    return content


def _objection(data: bytes) -> str | None:
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name not in _PLAIN:
            return f"it asks for {instruction.name}" + (f" {argument!r}" if isinstance(argument, str) else "")
        # Room is made for each number up to the one named.
        if instruction.name.endswith("PUT") and argument is not None and int(argument) > len(data):
            return f"it asks for {argument:,} places of memory"
    return None


class _Plain(pickle.Unpickler):
    """The second lock: nothing is ever imported, whatever passed the first."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for the object {pid!r}")
