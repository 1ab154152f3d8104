"""The miniatures of Oxford, Paris, their revisited ground truths, and the distractors: five landmarks a city."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval_bench.datasets.landmark_truth import QUERIES_PER_LANDMARK, QUERY_PREFIX
from retrieval_bench.datasets.miniature.files import save_jpeg, save_lines
from retrieval_bench.datasets.miniature.landmarks import STRATA, Box, Building, View, draw_landmark, draw_street
from retrieval_bench.datasets.miniature.strata import spread
from retrieval_bench.datasets.oxford_paris import OXFORD, PARIS

LANDMARKS = 5
PICTURES: dict[View, int] = {"good": 8, "ok": 4, "junk": 2}  # of each landmark in the database
STREETS = 24  # database pictures that show none
DISTRACTORS = 30
TAGS = ("architecture", "garden", "market")
CORRUPT = ("louvre_000136", "pompidou_000195")  # two of Paris' twenty


@dataclass(frozen=True)
class _City:
    """How a city's files are called."""

    number: int
    landmarks: list[str]
    prefix: str
    rest: str
    texts: str
    query_prefix: str

    def name(self, landmark: str, number: int) -> str:
        return f"{self.prefix}{landmark}_{number:06d}"

    def file(self, folder: Path, name: str) -> Path:
        """Oxford's pictures lie in one folder, Paris' in one for each landmark."""
        inner = f"paris/{name.split('_')[1]}" if self.prefix else "jpg"
        return folder / inner / f"{name}.jpg"


_OXFORD = _City(31, OXFORD[:LANDMARKS], "", "oxford", "gt_files_170407", QUERY_PREFIX)
_PARIS = _City(37, PARIS[:LANDMARKS], "paris_", "general", "gt_files_120310", "")


def write_oxford5k(folder: Path, seed: int) -> None:
    """Write ``jpg/`` and ``gt_files_170407/``."""
    _write(folder, seed, _OXFORD)


def write_paris6k(folder: Path, seed: int) -> None:
    """Write ``paris/<landmark>/``, with two of the corrupt files, and ``gt_files_120310/``."""
    _write(folder, seed, _PARIS)
    for name in CORRUPT:
        file = _PARIS.file(folder, f"paris_{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def write_oxford105k(folder: Path, seed: int) -> None:
    """Write Oxford5k, and Flickr100k in it."""
    write_oxford5k(folder, seed)
    write_flickr100k(folder / "flickr100k", seed)


def write_paris106k(folder: Path, seed: int) -> None:
    """Write Paris6k, and Flickr100k in it."""
    write_paris6k(folder, seed)
    write_flickr100k(folder / "flickr100k", seed)


def write_roxford5k(folder: Path, seed: int) -> None:
    """Write ``jpg/`` and ``gnd_roxford5k.pkl``."""
    _write_revisited(folder, seed, _OXFORD, "gnd_roxford5k.pkl")


def write_rparis6k(folder: Path, seed: int) -> None:
    """Write ``paris/<landmark>/`` and ``gnd_rparis6k.pkl``."""
    _write_revisited(folder, seed, _PARIS, "gnd_rparis6k.pkl")


def write_flickr100k(folder: Path, seed: int) -> None:
    """Write ``oxc1_100k/<tag>/``: other buildings, and open country."""
    for number in range(DISTRACTORS):
        rng = np.random.default_rng([seed, 41, number])
        tag = TAGS[number % len(TAGS)]
        others = [] if tag == "garden" else _strangers(rng)
        save_jpeg(draw_street(others, rng), folder / "oxc1_100k" / tag / f"{tag}_{number:04d}.jpg")


def _strangers(rng: np.random.Generator) -> list[Building]:
    return [Building.from_strata(rng.uniform(0, 1, STRATA).tolist()) for _ in range(int(rng.integers(2, 5)))]


def _draw_city(folder: Path, seed: int, city: _City) -> dict[str, dict[View, dict[str, Box]]]:
    """Draw the database; of each landmark the pictures by view, each with the landmark's box."""
    rows = spread(np.random.default_rng([seed, city.number]), LANDMARKS, STRATA)
    drawn: dict[str, dict[View, dict[str, Box]]] = {}
    for place, (landmark, row) in enumerate(zip(city.landmarks, rows, strict=True)):
        building, number = Building.from_strata(row), 0
        drawn[landmark] = {}
        for view, count in PICTURES.items():
            boxes = drawn[landmark].setdefault(view, {})
            for _ in range(count):
                picture, box = draw_landmark(building, view, np.random.default_rng([seed, city.number, place, number]))
                name = city.name(landmark, number)
                save_jpeg(picture, city.file(folder, name))
                boxes[name] = box
                number += 1
    for number in range(STREETS):
        rng = np.random.default_rng([seed, city.number, LANDMARKS, number])
        name = city.name(city.rest, number)
        save_jpeg(draw_street(_strangers(rng) if number % 3 else [], rng), city.file(folder, name))
    return drawn


def _write(folder: Path, seed: int, city: _City) -> None:
    texts = folder / city.texts
    for landmark, views in _draw_city(folder, seed, city).items():
        for number in range(QUERIES_PER_LANDMARK):
            name, box = list(views["good"].items())[number]
            corners = " ".join(f"{x:.1f}" for x in box)
            start = f"{landmark}_{number + 1}"
            save_lines(texts / f"{start}_query.txt", [f"{city.query_prefix}{name} {corners}"])
            for view, boxes in views.items():
                save_lines(texts / f"{start}_{view}.txt", boxes)
            # The published lists also name files that turned out to be no pictures.
            if landmark == "louvre":
                save_lines(texts / f"{start}_junk.txt", [*views["junk"], f"paris_{CORRUPT[0]}"])


def _write_revisited(folder: Path, seed: int, city: _City, file: str) -> None:
    drawn = _draw_city(folder, seed, city)
    queried = [list(views["good"].items())[i] for views in drawn.values() for i in range(QUERIES_PER_LANDMARK)]
    asked = {name for name, _ in queried}
    # Queries are no part of the revisited database.
    database = sorted(p.stem for p in folder.glob("*/**/*.jpg") if p.stem not in asked)
    at = {name: i for i, name in enumerate(database)}
    truth = []
    for i, (_, box) in enumerate(queried):
        views = list(drawn.values())[i // QUERIES_PER_LANDMARK]
        easy, hard, junk = (sorted(at[x] for x in views[view] if x in at) for view in ("good", "ok", "junk"))
        if i == len(queried) - 1:  # as published, some queries have no easy picture
            easy, hard = [], sorted(easy + hard)
        truth.append({"bbx": [float(x) for x in box], "easy": easy, "hard": hard, "junk": junk})
    content = {"imlist": database, "qimlist": [name for name, _ in queried], "gnd": truth}
    (folder / file).write_bytes(pickle.dumps(content, protocol=2))
