"""The Oxford Buildings (5,063 pictures) and Paris (6,392): landmarks to be found, alone or among 100,000 others."""

import logging
import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError
from retrieval_bench.datasets.flickr100k import has_pictures, list_pictures
from retrieval_bench.datasets.landmark_truth import LandmarkTruth, read_pickle, read_texts
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.ground_truth import RaggedLists
from retrieval_bench.retrieval.protocol import Protocol

_log = logging.getLogger(__name__)
OXFORD = [
    "all_souls",
    "ashmolean",
    "balliol",
    "bodleian",
    "christ_church",
    "cornmarket",
    "hertford",
    "keble",
    "magdalen",
    "pitt_rivers",
    "radcliffe_camera",
]
PARIS = [
    "defense",
    "eiffel",
    "invalides",
    "louvre",
    "moulinrouge",
    "museedorsay",
    "notredame",
    "pantheon",
    "pompidou",
    "sacrecoeur",
    "triomphe",
]
_TEXTS = ("gt_files_170407", "gt_files_120310", "gt", ".")
_TEXT_MARKERS = (*(f"{folder}/*_query.txt" for folder in _TEXTS[:-1]), "*_query.txt")
_FOLDERS = ("jpg", "oxbuild_images", "paris", ".")
_WHOLE = (0.0, 0.0, np.inf, np.inf)  # ends at the picture's edges, wherever they are


def crop_protocols(dataset: str) -> tuple[Protocol, ...]:
    """The query cropped to its box, the activations of the whole query cropped, and nothing cropped."""
    metrics = ("map_oxford", "map_oxford_optimistic", "map_oxford_pessimistic")
    fixed: dict[str, Any] = {
        "dataset": dataset,
        "self_match": "keep",
        "metrics": metrics,
        "main_metric": "map_oxford",
    }
    return (
        Protocol(name="crop-i", query_crop="image", **fixed),
        Protocol(name="crop-x", query_crop="activations", **fixed),
        Protocol(name="full", **fixed),
    )


class LandmarkDataset(RetrievalDataset):
    """Landmarks with queries, boxes, positives and junk.

    Rows are the database in the order of names, then a row for each query, then the distractors. A query has a row of
    its own, since its box may be cut out of it and not out of the same picture in the database. All other boxes are
    the whole picture. The label is the landmark: of a database picture, of the first query that it answers; -1 of one
    that answers none.

    Attributes:
        landmarks: What there is to be found, in the order of queries.
        corrupt: Names of published files that are no pictures; they are left out of everything.
        siblings: Data sets whose pictures, in a folder beside this one, are the same.
        distracted: Whether Flickr100k always belongs to it.
        positive: Kinds of ground truth that count as found, per protocol.
        ignored: Kinds of ground truth that are junk, per protocol.
    """

    landmarks: ClassVar[list[str]]
    corrupt: ClassVar[frozenset[str]] = frozenset()
    siblings: ClassVar[tuple[str, ...]] = ()
    distracted: ClassVar[bool] = False
    positive: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(("crop-i", "crop-x", "full"), ("good", "ok"))
    ignored: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(("crop-i", "crop-x", "full"), ("junk",))

    def __init__(self, root: str | Path, protocol: str | None = None, *, distractors: str | Path | None = None) -> None:
        """Find the data set.

        Args:
            root: As for every data set.
            protocol: The name of one of its protocols.
            distractors: A folder of pictures that are searched along with the database and answer no query; for
                Oxford105k and Paris106k by default ``flickr100k`` in the data set's folder or beside it.

        Raises:
            DatasetNotFoundError: If the ground truth is in none of its places.
            ValueError: If there is no such protocol.
        """
        super().__init__(root, protocol)
        self._distractors = Path(distractors) if distractors is not None else None

    def _locate(self, root: Path) -> Path:
        try:
            return super()._locate(root)
        except DatasetNotFoundError:
            for name in self.siblings if self.distracted else ():  # its ground truth is the sibling's
                for place in (root.parent / name, root / name):
                    if self._is_here(place):
                        return place
            raise

    def missing_annotations(self) -> list[str]:
        """None: one of two forms of the ground truth is enough, and it was found."""
        return []

    def missing_parts(self) -> list[str]:
        """Flickr100k, where it belongs to the data set and no picture of it is there."""
        folder = self.distractor_folder
        return ["flickr100k"] if folder is not None and not has_pictures(folder) else []

    @cached_property
    def truth(self) -> LandmarkTruth:
        """The ground truth as it was published."""
        if (self.root / self.marker).is_file():
            return read_pickle(self.root / self.marker, self.landmarks)
        return read_texts(next(self.root / x for x in _TEXTS if any((self.root / x).glob("*_query.txt"))))

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Names of corrupt pictures that are on disk or in the ground truth, and left out."""
        named = {name for q in self.truth.queries for names in q.lists.values() for name in names}
        return tuple(sorted(self.corrupt & (named | set(self.truth.images or ()) | set(self.pictures))))

    @cached_property
    def pictures(self) -> dict[str, Path]:
        """Where each picture lies that is on disk, by name without ``.jpg``; corrupt ones too."""
        homes = (self.root, *(place / x for x in self.siblings for place in (self.root.parent, self.root)))
        for folder in (home / x for home in homes for x in _FOLDERS):
            found = [*folder.glob("*.jpg"), *folder.glob("*/*.jpg")]
            named = {file.stem: file for file in found if re.fullmatch(r".+_\d{6}", file.stem)}
            if named:
                return named
        return {}

    @cached_property
    def distractor_folder(self) -> Path | None:
        """Where the distractors lie, None without any."""
        if self._distractors is not None or not self.distracted:
            return self._distractors
        places = (self.root / "flickr100k", self.root.parent / "flickr100k")
        return next((place for place in places if place.is_dir()), places[1])

    def _read(self, protocol: str) -> SampleTable:
        if self.dropped:
            count, listed = len(self.dropped), ", ".join(self.dropped)
            _log.info("%s: %d corrupt pictures are left out: %s", self.name, count, listed)
        names = self._database()
        row = {name: i for i, name in enumerate(names)}
        distractors = list_pictures(self.distractor_folder) if self.distractor_folder is not None else ()
        queries = self.truth.queries
        kinds = list(dict.fromkeys(q.landmark for q in queries))
        label = np.full(len(names) + len(queries) + len(distractors), -1, np.int64)
        for i, query in enumerate(queries):
            landmark = kinds.index(query.landmark)
            answers = [row[x] for x in self._known(query.names(("good", "ok", "easy", "hard")), row)]
            label[[x for x in answers if label[x] < 0]] = landmark
            label[len(names) + i] = landmark
        box = np.tile(np.array(_WHOLE, np.float32), (len(label), 1))
        box[len(names) : len(names) + len(queries)] = np.array([q.box for q in queries], np.float32).reshape(-1, 4)
        asks = np.zeros(len(label), np.bool_)
        asks[len(names) : len(names) + len(queries)] = True

        def rows(chosen: tuple[str, ...]) -> RaggedLists:
            lists = [sorted(row[x] for x in self._known(q.names(chosen), row)) for q in queries]
            return RaggedLists.from_lists(lists)

        return SampleTable(
            path=(*(f"jpg/{name}.jpg" for name in (*names, *(q.image for q in queries))), *distractors),
            label=label,
            class_names=tuple(kinds),
            is_train=np.zeros(len(label), np.bool_),
            is_query=asks,
            is_gallery=~asks,
            box=box,
            positives=rows(self.positive[protocol]),
            junk=rows(self.ignored[protocol]),
        )

    def _database(self) -> list[str]:
        listed = self.truth.images if self.truth.images is not None else tuple(self.pictures)
        if not listed:
            raise DataError(
                f"{self.root}: the text ground truth does not list the database, and there are no pictures "
                f"(jpg/*_000000.jpg) to list: unpack them there, or add {self.marker}"
            )
        return sorted(set(listed) - self.corrupt)

    def _known(self, names: frozenset[str], row: dict[str, int]) -> frozenset[str]:
        names -= self.corrupt
        if missing := sorted(names - row.keys()):
            raise DataError(
                f"{self.root}: {len(missing)} pictures that the ground truth names are not there, the first is "
                f"{missing[0]}.jpg: unpack the archive of the pictures again"
            )
        return names

    def image_path(self, row: int) -> Path:
        """Where the picture of a row lies: in one folder, in one for each landmark, or among the distractors."""
        path = Path(self.table.path[row])
        if row >= len(self.table) - self._distracting:
            assert self.distractor_folder is not None
            return self.distractor_folder / path
        return self.pictures.get(path.stem, self.root / path)

    @cached_property
    def _distracting(self) -> int:
        last_query = int(self.table.rows("query")[-1])
        return len(self.table) - last_query - 1


class Oxford5k(LandmarkDataset):
    """The Oxford Buildings: pictures of ``oxbuild_images.tgz``, ground truth of ``gt_files_170407`` or a pickle."""

    name: ClassVar[str] = "oxford5k"
    protocols: ClassVar[tuple[Protocol, ...]] = crop_protocols("oxford5k")
    marker: ClassVar[str] = "gnd_oxford5k.pkl"
    other_markers: ClassVar[tuple[str, ...]] = _TEXT_MARKERS
    landmarks: ClassVar[list[str]] = OXFORD
    siblings: ClassVar[tuple[str, ...]] = ("roxford5k",)


class Paris6k(LandmarkDataset):
    """Paris: pictures of ``paris_1.tgz`` and ``paris_2.tgz``, ground truth of ``paris_120310`` or a pickle."""

    name: ClassVar[str] = "paris6k"
    protocols: ClassVar[tuple[Protocol, ...]] = crop_protocols("paris6k")
    marker: ClassVar[str] = "gnd_paris6k.pkl"
    other_markers: ClassVar[tuple[str, ...]] = _TEXT_MARKERS
    landmarks: ClassVar[list[str]] = PARIS
    siblings: ClassVar[tuple[str, ...]] = ("rparis6k",)
    corrupt: ClassVar[frozenset[str]] = frozenset(
        f"paris_{landmark}_{number:06d}"
        for landmark, numbers in {
            "louvre": (136, 146),
            "moulinrouge": (422,),
            "museedorsay": (1059,),
            "notredame": (188,),
            "pantheon": (284, 960, 974),
            "pompidou": (195, 196, 201, 467, 640),
            "sacrecoeur": (299, 330, 353),
            "triomphe": (662, 833, 863, 867),
        }.items()
        for number in numbers
    )


class Oxford105k(Oxford5k):
    """The Oxford Buildings among Flickr100k."""

    name: ClassVar[str] = "oxford105k"
    protocols: ClassVar[tuple[Protocol, ...]] = crop_protocols("oxford105k")
    siblings: ClassVar[tuple[str, ...]] = ("oxford5k", "roxford5k")
    distracted: ClassVar[bool] = True


class Paris106k(Paris6k):
    """Paris among Flickr100k."""

    name: ClassVar[str] = "paris106k"
    protocols: ClassVar[tuple[Protocol, ...]] = crop_protocols("paris106k")
    siblings: ClassVar[tuple[str, ...]] = ("paris6k", "rparis6k")
    distracted: ClassVar[bool] = True
