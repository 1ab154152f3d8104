"""Whether a folder holds what the card promises, and what to do about every difference."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.cards import load_card
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError

Size = tuple[int, int]
Progress = Callable[[int, int], None]  # pictures looked at, pictures in all

BATCH = 1024  # pictures handed to the threads at a time: bounds what is in memory
QUICK_SAMPLE = 200  # headers that a quick look opens
ENOUGH_TO_JUDGE = 20  # fewer pictures may be of one size by chance


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which a folder is not what its card says.

    Attributes:
        kind: What differs.
        what: The difference, in words.
        todo: What to do about it.
        expected: What the card says, where it is a number or a table of numbers.
        actual: What the folder holds.
        files: The files concerned, each with what is wrong with it.
    """

    kind: Literal["annotations", "counts", "missing", "unreadable", "edition"]
    what: str
    todo: str
    expected: object = None
    actual: object = None
    files: tuple[str, ...] = ()


def verify(
    name: str, root: str | Path, *, images: bool = True, quick: bool = False, progress: Progress | None = None
) -> list[Difference]:
    """Compare a folder with the card of its data set.

    Args:
        name: The data set's key.
        root: The folder.
        images: Whether to look at the pictures too.
        quick: Whether to look only for each picture's presence and at a sample of sizes, without decoding any.
        progress: Called now and then with the number of pictures looked at and their total.

    Returns:
        All differences; empty for the whole, original, readable data set.

    Raises:
        DataError: If there is no such data set.
    """
    kind = dataset_class(name)
    try:
        dataset = kind(root)
    except DatasetNotFoundError as error:
        how = load_card(name).how_to_get()
        what = str(error).removesuffix(how).strip()
        return [Difference(kind="annotations", what=what, todo=how, files=(kind.marker,))]
    differences, readable = _read_protocols(dataset)
    differences += [x for each in readable for x in _count_differences(each)]
    if images and readable:
        differences += _image_differences(readable[0], quick, progress)
    return differences


def _read_protocols(dataset: RetrievalDataset) -> tuple[list[Difference], list[RetrievalDataset]]:
    """What is wrong with the annotation files, and the data set under each protocol that can be read."""
    missing, differences, readable = dataset.missing_annotations(), [], []
    if missing:
        differences.append(
            Difference(
                kind="annotations",
                what=f"annotation files are missing in {dataset.root}",
                todo=_draw_again(dataset)
                or "Unpack the original archive again; without them a protocol or a part of the data set is lost.",
                files=tuple(missing),
            )
        )
    broken: dict[str, list[str]] = {}  # what is wrong, and the protocols that need what is broken
    for protocol in dataset.protocols:
        again = type(dataset)(dataset.root, protocol.name)
        try:
            again.table  # noqa: B018 - reading it is the check
        except DataError as error:
            if not any(str(dataset.root / name) in str(error) for name in missing):  # named already
                broken.setdefault(str(error), []).append(protocol.name)
        else:
            readable.append(again)
    differences += [
        Difference(
            kind="annotations",
            what=f"protocol {' and '.join(protocols)} cannot be read: {error}",
            todo=_draw_again(dataset) or "Unpack the original archive again over the folder.",
        )
        for error, protocols in broken.items()
    ]
    return differences, readable


def _draw_again(dataset: RetrievalDataset) -> str | None:
    """How to mend a miniature, which has no archive to unpack; None for anything else."""
    if not dataset.is_miniature:
        return None
    return (
        "This is a miniature: delete its folder and draw it again with "
        f"`retrieval-bench data synthesize {dataset.name} --root DIR`."
    )


def _count_differences(dataset: RetrievalDataset) -> Iterator[Difference]:
    protocol, actual = dataset.protocol, dataset.table.counts()
    expected = dataset.card.counts.get(protocol.name, {})
    if actual == expected:
        return
    todo = (
        "If this should be the whole data set, unpack the original archive again. If it is meant to be a part of "
        f"it, nothing is wrong: its results carry the edition {protocol.edition} and never share a column with "
        "those on the whole."
    )
    if dataset.is_miniature:
        todo = (
            "This is a miniature, drawn by `retrieval-bench data synthesize`; nothing is wrong with it: its results "
            f"carry the edition {protocol.edition} and never share a column with those on the real data."
        )
    words = [
        f"{role} {_words(actual.get(role))} instead of {_words(expected.get(role))}"
        for role in ("train", "query", "gallery")
        if actual.get(role) != expected.get(role)
    ]
    yield Difference(
        kind="counts",
        what=f"protocol {protocol.name}: {'; '.join(words)}",
        todo=todo,
        expected=expected,
        actual=actual,
    )


def _words(numbers: dict[str, int] | None) -> str:
    return f"{numbers['images']:,} images of {numbers['classes']:,} classes" if numbers else "nothing"


@dataclass
class _Findings:
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    sizes: Counter[Size] = field(default_factory=Counter)
    cropped: int = 0  # pictures whose box is the whole picture


def _image_differences(dataset: RetrievalDataset, quick: bool, progress: Progress | None) -> Iterator[Difference]:
    found, total = _Findings(), len(dataset.table)
    sampled = set(range(0, total, max(1, total // QUICK_SAMPLE))) if quick else None

    def look(row: int) -> tuple[str | None, Size | None]:
        return _look(dataset.image_path(row), decode=not quick, header=sampled is None or row in sampled)

    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        for start in range(0, total, BATCH):
            rows = range(start, min(start + BATCH, total))
            _collect(dataset, rows, list(pool.map(look, rows)), found)
            if progress is not None:
                progress(rows.stop, total)
    if found.missing:
        yield Difference(
            kind="missing",
            what=f"{len(found.missing):,} of {total:,} pictures are missing in {dataset.root}",
            todo=_draw_again(dataset) or "Unpack the original archive of the pictures again, into the same folder.",
            expected=total,
            actual=total - len(found.missing),
            files=tuple(found.missing),
        )
    if found.unreadable:
        yield Difference(
            kind="unreadable",
            what=f"{len(found.unreadable):,} of {total:,} pictures cannot be read",
            todo=_draw_again(dataset)
            or "Delete them and unpack the archive again, with room on the disk: a full one cuts files short.",
            expected=0,
            actual=len(found.unreadable),
            files=tuple(found.unreadable),
        )
    yield from _edition_differences(dataset, found)


def _look(path: Path, *, decode: bool, header: bool) -> tuple[str | None, Size | None]:
    """What is wrong with a picture (``missing``, or the reason it cannot be read), and its width and height."""
    from PIL import Image

    from retrieval_bench.datasets.images import check_image

    try:
        if path.stat().st_size == 0:
            return "the file is empty", None
    except OSError:
        return "missing", None
    wrong = check_image(path) if decode else None
    if wrong is not None or not header:
        return wrong, None
    try:
        with Image.open(path) as picture:
            return None, picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error), None


def _collect(
    dataset: RetrievalDataset, rows: range, looks: Sequence[tuple[str | None, Size | None]], found: _Findings
) -> None:
    for row, (wrong, size) in zip(rows, looks, strict=True):
        path = dataset.table.path[row]
        if wrong == "missing":
            found.missing.append(path)
        elif wrong is not None:
            found.unreadable.append(f"{path}: {wrong}")
        elif size is not None:
            found.sizes[size] += 1
            box = dataset.table.box
            found.cropped += box is not None and tuple(box[row].tolist()) == (0.0, 0.0, *map(float, size))


def _edition_differences(dataset: RetrievalDataset, found: _Findings) -> Iterator[Difference]:
    seen, card = found.sizes.total(), dataset.card
    # Drawn pictures are no edition of the original ones.
    if seen < ENOUGH_TO_JUDGE or dataset.is_miniature:
        return
    (width, height), most = found.sizes.most_common(1)[0]
    todo = (
        "Numbers on another edition are not comparable with published ones. Get the original pictures, or keep these "
        "results apart. Known editions: " + " ".join(f"{name}: {text}" for name, text in card.editions.items())
    )
    if card.image_size is None and most == seen:
        yield Difference(
            kind="edition",
            what=f"all {seen:,} pictures looked at are {width}x{height} pixels, the originals vary: a resized copy",
            todo=todo,
            expected="varying sizes",
            actual=[width, height],
        )
    if card.image_size is not None and (other := seen - found.sizes[card.image_size]):
        expected = "x".join(map(str, card.image_size))
        yield Difference(
            kind="edition",
            what=f"{other:,} of {seen:,} pictures looked at are not {expected} pixels like the originals",
            todo=todo,
            expected=list(card.image_size),
            actual=[width, height],
        )
    if found.cropped == seen:
        yield Difference(
            kind="edition",
            what=f"the box of each of {seen:,} pictures looked at is the whole picture: a cropped copy",
            todo=todo,
            expected=0,
            actual=found.cropped,
        )
