"""Data sets fetched from where their authors publish them: resumed, checked, unpacked."""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.archives import is_archive, unpack
from retrieval_bench.datasets.cards import Archive, Card, load_card
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.subset import NOTE

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and their total, None where the server does not say."""

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_UNREACHABLE = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def download(name: str, root: Path, *, progress: Progress | None = None) -> None:
    """Fetch and unpack a data set; one that is there already is left alone.

    The archives stay in the folder. An interrupted download is taken up where it stopped.

    Args:
        name: The data set's key.
        root: The folder that gets it.
        progress: Told how far each archive is.

    Raises:
        DataError: If the folder holds a miniature or a part, or the data set may not be fetched without asking, cannot
            be reached, arrives damaged, or finds no room.
    """
    card = load_card(name)
    _refuse_another_edition(name, root)
    if is_complete(name, root):
        _log.info("%s is already complete in %s", card.title, root)
        return
    if card.download == "manual":
        raise DataError(_by_hand(card, root))
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {root}: {error.strerror}; name another with --root") from error
    _demand_room(card, root)
    files = [fetch(archive, root, progress=progress) for archive in card.archives]
    for file in files:
        if is_archive(file):
            unpack(file, root)


def _refuse_another_edition(name: str, root: Path) -> None:
    """Neither leave something else in the place of the data set nor unpack over it.

    The pictures of a part are often the whole's own, under a second name.
    """
    try:
        dataset = dataset_class(name)(root)
        edition = dataset.protocol.edition
    except DataError:
        return  # not here, or broken: the archives mend it
    what = "a miniature" if edition.startswith("miniature-") else "a part"
    # The annotations of a half-unpacked archive are a part as well; one that somebody cut is complete in itself.
    cut = any((place / NOTE).is_file() for place in (root, dataset.root, dataset.root.parent))
    if dataset.is_miniature or (edition.startswith("partial-") and (cut or is_complete(name, root))):
        raise DataError(
            f"{dataset.root} holds {what} of {dataset.card.title} (edition {edition}), not the data set; nothing was "
            "fetched. Name another folder with --root"
        )


def is_complete(name: str, root: Path) -> bool:
    """Whether all annotation files and all pictures they list are there; what is in them `verify` looks at."""
    try:
        dataset = dataset_class(name)(root)
        if dataset.missing_annotations():
            return False
        return all(dataset.image_path(row).is_file() for row in range(len(dataset.table)))
    except DataError:
        return False


def fetch(
    archive: Archive, folder: Path, *, progress: Progress | None = None, attempts: int = 5, pause_s: float = 2.0
) -> Path:
    """Fetch one published file into a folder, through a ``.part`` file that a later call takes up.

    Args:
        archive: What to fetch.
        folder: Where to.
        progress: Told how far it is.
        attempts: How often in a row it may fail without a byte gained.
        pause_s: Seconds before the second attempt; doubled before each further one.

    Returns:
        The file, its checksum as the card says.

    Raises:
        DataError: If it cannot be reached, or is not what the card says.
    """
    file = folder / archive.file
    part = folder / f"{archive.file}.part"
    if file.is_file():
        wrong = _difference(archive, file)
        if wrong:
            raise DataError(f"{file} is not the published file: {wrong}. Move it away and run this again")
        return file
    resumed = part.is_file() and part.stat().st_size > 0
    _transfer(archive, part, progress, attempts, pause_s)
    wrong = _difference(archive, part)
    if wrong and resumed:
        # The beginning came from an earlier call, perhaps of another edition: once more from the start.
        part.unlink()
        _transfer(archive, part, progress, attempts, pause_s)
        wrong = _difference(archive, part)
    if wrong:
        part.unlink()
        raise DataError(
            f"{archive.url} arrived damaged, or has changed since its card was written: {wrong}. "
            "It was deleted; run this again, and if it stays so, compare with the data set's home page"
        )
    part.replace(file)
    return file


def _transfer(archive: Archive, part: Path, progress: Progress | None, attempts: int, pause_s: float) -> None:
    """Fill the part file to the end, asking again where the connection broke."""
    url = archive.url or ""
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{archive.file} has no address that can be fetched ({url or 'none'}); get it by hand")
    failures, wait = 0, pause_s
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _receive(url, part, before, archive.bytes, progress):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            if error.code == 416 and before:
                part.unlink()  # the part is not a beginning of what the server has
            elif error.code < 500 and error.code not in (408, 429):
                raise DataError(f"{url}: {reason}; look for a new address on the data set's home page") from error
        except _UNREACHABLE as error:
            reason = str(getattr(error, "reason", None) or error)
        except OSError as error:
            raise DataError(f"{part} cannot be written: {error.strerror or error}") from error
        gained = part.is_file() and part.stat().st_size > before
        failures, wait = (0, pause_s) if gained else (failures + 1, wait)
        if failures >= attempts:
            raise DataError(
                f"{url} cannot be fetched: {reason}, {attempts} times in a row. What has arrived is kept in {part}; "
                "run this again to go on, or put the file there by hand without the .part"
            )
        _log.warning("%s: %s; asking again", url, reason)
        if not gained:
            time.sleep(wait)
            wait *= 2


def _receive(url: str, part: Path, start: int, size: int | None, progress: Progress | None) -> bool:
    """Receive from a byte on, or from the first if the server cannot; whether it came to the end."""
    if size is not None and start == size:
        return True
    headers = {"User-Agent": "retrieval-bench", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as answer:
        if answer.status != 206:
            start = 0
        elif not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
            raise http.client.HTTPException("the server sent another range than it was asked for")
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else size
        done = start
        with part.open("ab" if start else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    return total is None or done >= total


def _difference(archive: Archive, file: Path) -> str | None:
    """How a file differs from what the card says, None if it does not."""
    size = file.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"it has {size:,} bytes, {archive.bytes:,} are expected"
    for kind, expected in (("sha256", archive.sha256), ("md5", archive.md5)):
        if expected is not None:
            found = _digest(file, hashlib.new(kind, usedforsecurity=False))
            return None if found == expected else f"its {kind} is {found}, {expected} is expected"
    _log.warning("%s: no checksum is known; only its length was checked", file)
    return None


def _digest(file: Path, digest: _Digest) -> str:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _demand_room(card: Card, root: Path) -> None:
    needed = 0
    for archive in card.archives:
        have = sum(x.stat().st_size for x in (root / archive.file, root / f"{archive.file}.part") if x.is_file())
        size = archive.bytes or 0
        # Pictures hardly shrink in an archive, so what comes out is about as large as what goes in.
        needed += max(size - have, 0) + (size if is_archive(root / archive.file) else 0)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"{card.title} needs about {needed / 1e9:.1f} GB in {root} (its archives, and what they unpack to), "
            f"{free / 1e9:.1f} GB are free; make room or name a folder on another disk with --root"
        )


def _by_hand(card: Card, root: Path) -> str:
    layout = "\n".join(f"  {line}" for line in card.unpacked)
    return (
        f"{card.title} cannot be fetched by a command: {card.manual_reason}.\nPut the files into {root} like this:\n"
        f"{layout}\nThen `retrieval-bench data verify {card.key} --root {root}` looks through them."
    )
