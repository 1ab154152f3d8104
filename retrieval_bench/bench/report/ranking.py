"""Ranked results: what queries found, with right, wrong and junk told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval_bench.bench.ranked import JUNK, RANKED_FILE, RELEVANT, Ranked, read_ranked
from retrieval_bench.bench.report.pictures import Album, Thumbnail
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.summary import Row

_WORDS = {RELEVANT: "right", JUNK: "junk"}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shown:
    """A picture of a ranked list.

    Attributes:
        kind: ``query``, ``right``, ``wrong`` or ``junk``.
        rank: Its place, from 1 on; 0 for a query.
        name: Its path, or its row where no table tells the path.
        thumbnail: Its small copy, None where the picture is not at hand.
        box: x, y, width and height in pixels of the original.
        score: How near it is, as written; empty where no score says so.
    """

    kind: str
    rank: int
    name: str
    thumbnail: Thumbnail | None = None
    box: Box | None = None
    score: str = ""


@dataclass(frozen=True)
class RankedList:
    """A query and what it found.

    Attributes:
        query: The query.
        found: What it found, nearest first.
        value: The query's own value of the main metric, as written.
    """

    query: Shown
    found: tuple[Shown, ...]
    value: str = ""


def ranked_run(row: Row) -> tuple[int, Result, Ranked] | None:
    """The first seed of a setting that kept its ranked results, None if none did."""
    for seed in row.seeds:
        file, result = row.results[seed]
        path = file.parent / RANKED_FILE
        if path.is_file():
            return seed, result, read_ranked(path)
    return None


def spread_out(scores: Sequence[float], wanted: int) -> list[int]:
    """Places from the lowest score to the highest, evenly spread; ties in their order.

    Args:
        scores: One a query.
        wanted: How many places.
    """
    order = np.argsort(np.asarray(scores), kind="stable")
    if len(order) <= wanted:
        return [int(place) for place in order]
    return [int(order[round(i * (len(order) - 1) / (wanted - 1))]) for i in range(wanted)]


def ranked_list(ranked: Ranked, query: int, result: Result, album: Album | None, value: str = "") -> RankedList:
    """One query with what it found.

    Args:
        ranked: What every query found.
        query: The row of the sample table.
        result: The run's.
        album: The pictures, if they are at hand.
        value: The query's own value, as written.
    """
    (place,) = np.flatnonzero(ranked.query == query)
    cropped = result.protocol.query_crop != "none" or result.protocol.image_crop != "none"
    asked = _asked(album, query) if cropped and album else None
    shown = [
        _shown(
            _WORDS.get(int(ranked.relevance[place, i]), "wrong"),
            i + 1,
            int(image),
            album,
            _corners(ranked.box[place, i]),
            "" if np.isnan(ranked.score[place, i]) else f"{ranked.score[place, i]:.4g}".replace("-", "−"),
        )
        for i, image in enumerate(ranked.image[place])
        if image >= 0
    ]
    return RankedList(_shown("query", 0, query, album, asked), tuple(shown), value)


def _shown(kind: str, rank: int, row: int, album: Album | None, box: Box | None, score: str = "") -> Shown:
    known = album is not None and 0 <= row < len(album.table)
    if album is None or not known:
        return Shown(kind, rank, f"row {row}", None, None, score)
    return Shown(kind, rank, album.table.path[row], album.thumbnail(row), box, score)


def _asked(album: Album, query: int) -> Box | None:
    boxes = album.table.box
    return None if boxes is None else _corners(boxes[query])


def _corners(box: np.ndarray) -> Box | None:
    """x, y, width and height of a box given by its corners, None for one that nobody knows."""
    if not np.isfinite(box).all():
        return None
    x1, y1, x2, y2 = (round(float(v), 1) for v in box)
    return x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)
