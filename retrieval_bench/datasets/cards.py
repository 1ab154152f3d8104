"""The committed facts about each data set: counts, terms, checksums, and how to get it."""

import difflib
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from retrieval_bench.datasets.errors import DataError

Counts = dict[str, dict[str, dict[str, int]]]  # protocol -> role -> images and classes

# Cards are data beside the package, so they are found from a checkout (an editable install), not from a wheel.
CARDS = Path(__file__).resolve().parents[2] / "datasets"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One published file of a data set.

    Attributes:
        file: Its name on disk.
        url: Where it is or was published; None where there is no lasting address.
        bytes: Its length, None where not known for certain.
        md5: Its MD5 in lower-case hexadecimal, None where not known for certain.
        sha256: Its SHA-256 in lower-case hexadecimal, None where not known for certain.
    """

    file: str
    url: str | None = None
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about a data set before anyone looks at a disk.

    Attributes:
        key: The name in commands, configs and results.
        title: The name in prose.
        homepage: The authors' page.
        citation: A BibTeX entry.
        terms: Under which terms its authors give it away.
        download: Whether the archives may be fetched without asking anyone.
        manual_reason: Why not, and what to do instead; None where the download is automatic.
        archives: The published files.
        unpacked: The layout that the reader expects, one path a line.
        counts: Images and classes of each role, per protocol.
        editions: The editions in circulation, each with a word on how it differs.
        image_size: Width and height in pixels if all original pictures share one size, None where sizes vary.
    """

    key: str
    title: str
    homepage: str
    citation: str
    terms: str
    download: Literal["automatic", "manual"]
    manual_reason: str | None = None
    archives: tuple[Archive, ...]
    unpacked: tuple[str, ...]
    counts: Counts
    editions: dict[str, str] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None

    def how_to_get(self) -> str:
        """Say how to come by the data set: fetch it, bring it, or make do with a miniature."""
        fetch = f"`retrieval-bench data download {self.key} --root DIR`"
        if self.download == "manual":
            fetch = f"by hand ({self.manual_reason})"
        return (
            f"There are two ways to get it: {fetch}, or point --root (or RETRIEVAL_BENCH_DATA) at a folder you "
            f"already have. To try things out, `retrieval-bench data synthesize {self.key} --root DIR` "
            "writes a miniature."
        )


def card_names() -> list[str]:
    """Keys of all data sets that have a card."""
    if not CARDS.is_dir():
        raise DataError(
            f"the data sets' cards are missing: there is no folder {CARDS}. They lie beside the package, so install "
            "it from a checkout: pip install -e ."
        )
    return sorted(file.stem for file in CARDS.glob("*.yaml"))


@cache
def load_card(name: str) -> Card:
    """Read the card of a data set.

    Raises:
        DataError: If there is no such card, or it does not say what a card must say.
    """
    known = card_names()
    if name not in known:
        raise DataError(f"there is no data set {name!r}{suggestion(name, known, listed=True)}")
    return read_card(CARDS / f"{name}.yaml")


def read_card(file: Path) -> Card:
    """Read and check one card file.

    Raises:
        DataError: Naming the file and the key that is unknown, missing or of the wrong kind.
    """
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{file}: not a YAML file: {' '.join(str(error).split())}") from error
    facts = _checked(file, "", raw, Card, _CARD_RULES)
    _demand(file, "key", facts["key"], facts["key"] == file.stem, f"{file.stem!r}, like the file's name")
    reason, manual = facts.get("manual_reason"), facts["download"] == "manual"
    _demand(file, "manual_reason", reason, (reason is not None) == manual, "a text" if manual else "left out")
    archives = []
    for i, entry in enumerate(facts["archives"]):
        archive = Archive(**_checked(file, f"archives[{i}]", entry, Archive, _ARCHIVE_RULES))
        _demand(file, f"archives[{i}].url", archive.url, manual or archive.url is not None, "an address")
        archives.append(archive)
    size = facts.get("image_size")
    return Card(
        **facts
        | {
            "archives": tuple(archives),
            "unpacked": tuple(facts["unpacked"]),
            "image_size": None if size is None else tuple(size),
        }
    )


def suggestion(word: str, known: list[str], *, listed: bool = False) -> str:
    """``; did you mean …?`` if something known is close to the word, else nothing; what is known after it if asked."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return meant + (f"{' Known' if close else '; known'}: {', '.join(known)}" if listed else "")


Rules = dict[str, tuple[Callable[[Any], bool], str]]  # for each key what is right, and the same in words


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_counts(value: Any) -> bool:
    def is_role(numbers: Any) -> bool:
        return (
            isinstance(numbers, dict)
            and set(numbers) == {"images", "classes"}
            and all(map(_is_count, numbers.values()))
        )

    def is_protocol(roles: Any) -> bool:
        named = isinstance(roles, dict) and bool(roles) and set(roles) <= {"train", "query", "gallery"}
        return named and all(map(is_role, roles.values()))

    return isinstance(value, dict) and bool(value) and all(map(is_protocol, value.values()))


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)))


def _is_hex(digits: int) -> Callable[[Any], bool]:
    return lambda value: value is None or (_is_text(value) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None)


_TEXT = (_is_text, "a text")
_CARD_RULES: Rules = {
    **dict.fromkeys(("key", "title", "homepage", "citation", "terms"), _TEXT),
    "download": (lambda value: value in ("automatic", "manual"), "automatic or manual"),
    "manual_reason": (lambda value: value is None or _is_text(value), "a text"),
    "archives": (lambda value: isinstance(value, list) and bool(value), "a list of archives"),
    "unpacked": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of paths"),
    "counts": (_is_counts, "{protocol: {train, query or gallery: {images: N, classes: N}}}"),
    "editions": (
        lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
        "a sentence for each edition",
    ),
    "image_size": (_is_size, "[width, height] in pixels, or null where sizes vary"),
}
_ARCHIVE_RULES: Rules = {
    "file": (lambda value: _is_text(value) and re.fullmatch(r"\w[\w. -]*", value) is not None, "a plain file name"),
    "url": (lambda value: value is None or _is_text(value), "an address or null"),
    "bytes": (lambda value: value is None or (_is_count(value) and value > 0), "a positive whole number or null"),
    "md5": (_is_hex(32), "32 lower-case hexadecimal digits or null"),
    "sha256": (_is_hex(64), "64 lower-case hexadecimal digits or null"),
}


def _checked(file: Path, where: str, raw: Any, kind: type[Card] | type[Archive], rules: Rules) -> dict[str, Any]:
    """The keys and values of a mapping that has all that ``kind`` needs, nothing else, and all of it right."""
    _demand(file, where or "the card", raw, isinstance(raw, dict), "a mapping")
    known, inside = [f.name for f in fields(kind)], f"{where}." if where else ""
    for key in raw:
        if key not in known:
            raise DataError(f"{file}: unknown key '{inside}{key}'{suggestion(str(key), known, listed=True)}")
    for f in fields(kind):
        if f.name in raw:
            right, words = rules[f.name]
            _demand(file, f"{inside}{f.name}", raw[f.name], right(raw[f.name]), words)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise DataError(f"{file}: there is no key '{inside}{f.name}'")
    return dict(raw)


def _demand(file: Path, key: str, value: object, right: bool, expected: str) -> None:
    if not right:
        raise DataError(f"{file}: {key} should be {expected}; it is {value!r}")
