"""Plain data read from a file, checked field by field against a dataclass."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from retrieval_bench.bench.errors import RecordError

T = TypeVar("T")


def build(cls: type[T], value: Any, *, file: object, field: str = "") -> T:
    """Make a dataclass out of plain data, refusing what does not fit.

    Args:
        cls: A dataclass; its annotations say what each field may hold, its defaults which field may be absent.
        value: What was read.
        file: The file it came from, for the message.
        field: The path of the value in the file, for the message.

    Raises:
        RecordError: If a field is unknown, missing or of the wrong type.
    """
    if not isinstance(value, Mapping):
        raise RecordError(f"{_where(file, field)}: expected a mapping, found {_found(value)}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # every caller gives a dataclass
    for key in value:
        if key not in fields:
            raise RecordError(f"{_where(file, _join(field, key))}: unknown field{suggestion(str(key), fields)}")
    arguments = {}
    for name, description in fields.items():
        if name in value:
            arguments[name] = check(hints[name], value[name], file=file, field=_join(field, name))
        elif description.default is dataclasses.MISSING and description.default_factory is dataclasses.MISSING:
            raise RecordError(f"{_where(file, _join(field, name))}: this field is missing")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise RecordError(f"{_where(file, field)}: {error}") from error


def check(hint: Any, value: Any, *, file: object, field: str = "") -> Any:
    """Check one value against one annotation and return it as that type.

    Args:
        hint: ``Any``, a scalar type, ``Path``, a dataclass, a ``Literal``, a union, or a tuple, list or dict of such.
        value: What was read; an int is taken for a float, a list for a tuple, a text for a path.
        file: The file it came from, for the message.
        field: The path of the value in the file, for the message.

    Raises:
        RecordError: If it does not fit.
    """
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return _check_union(arguments, value, file=file, field=field)
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
    elif origin in {tuple, list}:
        if isinstance(value, (list, tuple)):
            items = [check(arguments[0], item, file=file, field=f"{field}[{i}]") for i, item in enumerate(value)]
            return origin(items)
    elif origin is dict:
        if isinstance(value, Mapping):
            return {
                check(arguments[0], key, file=file, field=field): check(
                    arguments[1], item, file=file, field=_join(field, key)
                )
                for key, item in value.items()
            }
    elif dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, file=file, field=field)
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif hint is Path:
        if isinstance(value, str):
            return Path(value)
    elif type(value) is hint:
        return value
    raise RecordError(f"{_where(file, field)}: expected {_expected(hint)}, found {_found(value)}")


def _check_union(arguments: tuple[Any, ...], value: Any, *, file: object, field: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    errors = []
    others = [a for a in arguments if a is not type(None)]
    for argument in others:
        try:
            return check(argument, value, file=file, field=field)
        except RecordError as error:
            errors.append(error)
    # With one real alternative its own message is the most exact one.
    if len(others) == 1:
        raise errors[0]
    expected = " or ".join(_expected(a) for a in arguments)
    raise RecordError(f"{_where(file, field)}: expected {expected}, found {_found(value)}")


def suggestion(word: str, known: Collection[str]) -> str:
    """Say which known word was probably meant, and which ones there are."""
    close = difflib.get_close_matches(word, list(known), n=1)
    listed = ", ".join(known)
    return f"; did you mean {close[0]}?" if close else f" (known: {listed})"


def _join(field: str, name: object) -> str:
    return f"{field}.{name}" if field else str(name)


def _where(file: object, field: str) -> str:
    return f"{file}: {field}" if field else str(file)


def _found(value: Any) -> str:
    text = repr(value)
    return f"{text[:57]}..." if len(text) > 60 else text


def _expected(hint: Any) -> str:
    if hint is type(None):
        return "null"
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(a) for a in typing.get_args(hint))
    names = {str: "a text", int: "a whole number", float: "a finite number", bool: "true or false", Path: "a path"}
    if hint in names:
        return names[hint]
    origin = typing.get_origin(hint) or hint
    return {list: "a list", tuple: "a list", dict: "a mapping"}.get(origin, getattr(hint, "__name__", str(hint)))
