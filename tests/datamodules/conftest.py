"""A small data set of coloured rectangles, written to disk and read back like any other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.nn.preprocessing import Preprocessing
from retrieval_bench.retrieval.protocol import Protocol


class Colours(RetrievalDataset):
    """``images.txt`` with a line ``path label roles x1 y1 x2 y2`` for each picture; roles are letters of t, q, g."""

    name: ClassVar[str] = "colours"
    protocols: ClassVar[tuple[Protocol, ...]] = (
        Protocol(dataset="colours", name="whole"),
        Protocol(dataset="colours", name="boxes", image_crop="box"),
        Protocol(dataset="colours", name="query-boxes", query_crop="image"),
    )
    marker: ClassVar[str] = "images.txt"

    @cached_property
    def protocol(self) -> Protocol:
        return self._declared

    def _read(self, protocol: str) -> SampleTable:
        lines = [line.split() for line in (self.root / self.marker).read_text().splitlines()]
        label = np.array([int(line[1]) for line in lines], np.int64)
        roles = [line[2] for line in lines]
        return SampleTable(
            path=tuple(line[0] for line in lines),
            label=label,
            class_names=tuple(str(c) for c in range(label.max() + 1)),
            is_train=np.array(["t" in r for r in roles]),
            is_query=np.array(["q" in r for r in roles]),
            is_gallery=np.array(["g" in r for r in roles]),
            box=np.array([line[3:] for line in lines], np.float32) if len(lines[0]) > 3 else None,
        )


class ColoursDataModule(RetrievalDataModule):
    dataset_class: ClassVar[type[RetrievalDataset]] = Colours


@dataclass
class Painter:
    """Writes pictures, and the line of each."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    def add(self, pixels: np.ndarray, label: int, roles: str, box: tuple[float, ...] = ()) -> None:
        path = f"{len(self.lines)}.png"  # without loss, so that values can be worked out by hand
        Image.fromarray(pixels).save(self.folder / path)
        self.lines.append(" ".join([path, str(label), roles, *map(str, box)]))

    def add_noise(self, label: int, roles: str, count: int, *, size: tuple[int, int] = (24, 32)) -> None:
        rng = np.random.default_rng(len(self.lines))
        for _ in range(count):
            self.add(rng.integers(0, 256, (*size, 3), np.uint8), label, roles)

    def data(self, **options: object) -> ColoursDataModule:
        (self.folder / "images.txt").write_text("".join(f"{line}\n" for line in self.lines))
        options = {"classes_per_batch": 2, "images_per_class": 2, "eval_batch_size": 2, "num_workers": 0, **options}
        data = ColoursDataModule(self.folder, **options)
        data.preprocessing = Preprocessing(resize=(16, 16), crop=12)
        return data


@pytest.fixture
def painter(tmp_path: Path) -> Painter:
    folder = tmp_path / "colours"
    folder.mkdir()
    return Painter(folder)


@pytest.fixture
def data(painter: Painter) -> Callable[..., ColoursDataModule]:
    """Four training classes (labels 10, 20, 30, 40) of 5, 5, 5 and 1 pictures, and 7 pictures to evaluate."""
    for label, count in ((10, 5), (20, 5), (30, 5), (40, 1)):
        painter.add_noise(label, "t", count)
    painter.add_noise(50, "qg", 4)
    painter.add_noise(60, "q", 1)
    painter.add_noise(60, "g", 2)
    return painter.data
