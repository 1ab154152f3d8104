"""The file of a data set's region proposals: JSON lines as those of saliency boxes, the boxes packed."""

import base64
import json
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.saliency_boxes import BoxWriter, parse_header

Boxes = npt.NDArray[np.float32]


class PictureProposals(NamedTuple):
    """The proposals of one picture.

    Attributes:
        path: The picture, as the sample table names it.
        boxes: ``(count, 4)`` little-endian float32 x1, y1, x2, y2 in pixels of the resized picture, as base64.
        size: Width and height of the resized picture.
    """

    path: str
    boxes: str
    size: tuple[int, int]

    @classmethod
    def pack(cls, path: str, boxes: Boxes, size: tuple[int, int]) -> "PictureProposals":
        """From an array ``(count, 4)``."""
        return cls(path, base64.b64encode(boxes.astype("<f4").tobytes()).decode(), size)


class ProposalWriter(BoxWriter):
    """Writes a file of proposals; see ``BoxWriter``."""

    kind: ClassVar[str] = "region proposals"


class TableProposals(NamedTuple):
    """The proposals of every picture of a sample table.

    Attributes:
        boxes: ``(n, count, 4)`` float32 x1, y1, x2, y2 in pixels of the resized picture, the best first.
        size: ``(n, 2)`` int64 width and height of the resized picture.
        learned_from: What the network that proposed them was trained on, in words.
    """

    boxes: Boxes
    size: npt.NDArray[np.int64]
    learned_from: str


def read_proposals(file: Path, dataset: RetrievalDataset) -> TableProposals:
    """Read the proposals of a data set's pictures, in the order of its table.

    Args:
        file: A complete file of proposals; it may hold more pictures than the table.
        dataset: Whose pictures are looked up.

    Raises:
        DataError: If the file is missing, damaged or cut short, or has none of a picture.
    """
    make = how_to_make(dataset)
    if not file.is_file():
        raise DataError(f"there is no file of region proposals at {file.absolute()}; {make}")
    found: dict[str, tuple[Boxes, tuple[int, int]]] = {}
    with file.open(encoding="utf-8") as lines:
        header = parse_header(next(lines, ""), ProposalWriter.kind)
        if header is None:
            raise DataError(f"{file} is no file of region proposals: its first line does not say so; {make}")
        for number, line in enumerate(lines, 2):
            try:
                entry = PictureProposals(**json.loads(line))
                packed = np.frombuffer(base64.b64decode(entry.boxes, validate=True), "<f4")
                width, height = entry.size
                found[entry.path] = packed.astype(np.float32).reshape(header["count"], 4), (width, height)
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"line {number} of {file} holds no proposals ({error}); delete it and {make}"
                ) from error
    if header.get("pictures") != len(found):
        raise DataError(
            f"{file} should hold {header.get('pictures')} pictures and holds {len(found)}; delete it and {make}"
        )
    missing = [path for path in dataset.table.path if path not in found]
    if missing:
        raise DataError(f"{file} has no proposals of {missing[0]}: it was made of other pictures; {make}")
    rows = [found[path] for path in dataset.table.path]
    return TableProposals(
        np.stack([boxes for boxes, _ in rows]),
        np.array([size for _, size in rows], np.int64).reshape(-1, 2),
        str(header.get("learned_from")),
    )


def how_to_make(dataset: RetrievalDataset) -> str:
    """What the user types to get the file of a data set's proposals."""
    return f"make it with `retrieval-bench proposals {dataset.name} --root {dataset.root} --checkpoint RPN.ckpt`"
