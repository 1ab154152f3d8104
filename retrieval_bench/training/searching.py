"""One picture in, the nearest pictures of an index out: described, compared and ranked as in the run's evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval_bench.datamodules.loose import LooseDataModule, LoosePictures
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import check_image, image_size
from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval.descriptors import Descriptors, Metric
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.protocol import Protocol
from retrieval_bench.retrieval.search import search
from retrieval_bench.training.describing import Describer
from retrieval_bench.training.index_store import PictureIndex

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        path: The picture, from the index's root on.
        score: Greater is nearer: the dot product, or minus the squared Euclidean, the Hamming or the asymmetric
            distance.
        box: x1, y1, x2, y2 in pixels of the original picture, where the method says so; otherwise None.
    """

    path: str
    score: float
    box: Box | None


@dataclass(frozen=True)
class Answer:
    """What a picture finds.

    Attributes:
        hits: Nearest first; equal scores in gallery order.
        metric: What the scores are.
        notes: What a reader should know of how they came about.
    """

    hits: tuple[Hit, ...]
    metric: Metric
    notes: tuple[str, ...]


def find(describer: Describer, index: PictureIndex, picture: Path, box: Box | None = None, *, top: int = 10) -> Answer:
    """Search an index for what a picture shows.

    A box does what it does in the run's evaluation: where the protocol crops queries, the picture or its activations
    are cropped to it, and a method whose queries are regions takes its region. Otherwise the picture is cut to it
    before all else. Where the protocol takes a query's own image out of its ranking, it is taken out here, too.

    Args:
        describer: Of the run that made the index.
        index: What is searched.
        picture: The query.
        box: x1, y1, x2, y2 in pixels of the picture.
        top: How many results.

    Raises:
        OptionError: If the picture cannot be read, or the box does not lie in it.
    """
    _check(picture, box)
    result, method = describer.run.result, describer.method
    protocol, notes = _cropping(method, result.protocol, box)
    if method.preprocessing.boxes is not None and box is None:
        notes.append("the run crops pictures to their salient boxes; the query has none and is taken whole")
    if result.config["trainer"].get("postprocessing"):
        notes.append("the run's post-processing is not applied")
    pictures = LoosePictures(picture.parent, [picture.name], protocol, role="query", box=box)
    query = describer.describe(LooseDataModule(pictures, method.preprocessing), np.zeros(1, np.int64))[0]
    itself = _place_of(picture, index) if protocol.self_match == "exclude" else None
    if itself is not None:
        notes.append("the query itself is left out, as the protocol has it")
    return Answer(_ranked(query, index, itself, top), index.descriptors.metric, tuple(notes))


def _check(picture: Path, box: Box | None) -> None:
    try:
        height, width = image_size(picture)
    except UnreadableImageError as error:
        raise OptionError(f"{picture} cannot be asked: {check_image(picture) or error}") from error
    if box is not None:
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise OptionError(
                f"the box {' '.join(f'{v:g}' for v in box)} does not lie in {picture}, which has {width}x{height} "
                "pixels: give x1 y1 x2 y2, the left, upper, right and lower edge, inside of it"
            )


def _cropping(method: Any, protocol: Protocol, box: Box | None) -> tuple[Protocol, list[str]]:
    """How the query is cropped, and what is to be said of that."""
    region = getattr(method, "query_region", None)
    windows = region == "window" or hasattr(method, "describe_windows")
    used = (
        protocol.image_crop == "box"
        or protocol.query_crop == "image"
        or (protocol.query_crop == "activations" and windows)
        or region == "box"
    )
    if box is None or used:
        return protocol, []
    note = (
        f"the protocol {protocol.name} gives queries of {type(method).__name__} no box: the picture was cut to it first"
    )
    return replace(protocol, image_crop="box"), [note]


def _place_of(picture: Path, index: PictureIndex) -> int | None:
    """Which picture of the index this file is."""
    try:
        path = picture.resolve().relative_to(index.root.resolve()).as_posix()
    except ValueError:
        return None
    return next((place for place, listed in enumerate(index.listed) if listed.path == path), None)


def _ranked(query: Descriptors, index: PictureIndex, itself: int | None, top: int) -> tuple[Hit, ...]:
    every = np.arange(len(index.listed), dtype=np.int64)
    junk = RaggedLists.from_lists([[] if itself is None else [itself]])
    truth = GroundTruth(query.image[:1].numpy(), every, RaggedLists.from_lists([[]]), junk)
    ranking = search(query, index.descriptors, top=top, truth=truth)
    boxes: list[Any] = [None] * top if ranking.boxes is None else ranking.boxes[0].tolist()
    return tuple(
        Hit(index.listed[place].path, score, None if box is None else tuple(box))
        for place, score, box in zip(ranking.image[0].tolist(), ranking.score[0].tolist(), boxes, strict=True)
        if place >= 0
    )
