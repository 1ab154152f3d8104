"""A folder of results with all that a report can show, small and with hostile names; and a reader of its pages."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval_bench.bench.papers import papers_folder, read_paper
from retrieval_bench.bench.per_query import write_per_query
from retrieval_bench.bench.ranked import Ranked, write_ranked
from retrieval_bench.bench.report.site import Sources, write_report
from retrieval_bench.bench.results import Code, Cost, Data, Result, RunId, read_results, write_result
from retrieval_bench.datasets.table import SampleTable
from retrieval_bench.retrieval.protocol import Protocol

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = '"onload="alert(1)'
PATHS = ("a b/0.png", "1.png", f"{ATTRIBUTE}.png", f"{SCRIPT}.png", "gone.png", "1 again.png")
COLOURS = ("red", "green", "blue", "white", None, "green")

ZERO_SHOT = Protocol(
    dataset="cub",
    name="zero-shot",
    metrics=("recall_at_1", "recall_at_2"),
    main_metric="recall_at_1",
    edition="original",
)
HASHING = Protocol(dataset="cub", name="hashing", self_match="keep", metrics=("map",), main_metric="map")
# (seeds, queries) of the main metric: the first two settings differ on queries 0 and 1 alone.
VALUES = {
    ("abir", None): [[1, 1, 0, 1], [1, 0, 0, 1]],
    ("abir", "no_se"): [[0, 1, 0, 1], [0, 1, 0, 1]],
    (SCRIPT, ATTRIBUTE): [[0, 0, 0, 1], [0, 0, 0, 0]],
}


class Pictures:
    """A data set of six pictures: one is missing, two are the same."""

    def __init__(self, root):
        self.root = root
        roles = np.ones(6, bool)
        box = np.tile(np.array([4, 8, 24, 28], np.float32), (6, 1))
        self.table = SampleTable(PATHS, np.array([0, 0, 1, 1, 0, 1]), ("x", "y"), roles, roles, roles, box)

    def draw(self):
        for path, colour in zip(PATHS, COLOURS, strict=True):
            if colour:
                file = self.root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (400, 200), colour).save(file)
        return self

    def image_path(self, row):
        return self.root / PATHS[row]


def result(method, variant, seed, metrics, protocol=ZERO_SHOT, **changes):
    content = {
        "run": RunId(suite="tiny", dataset="cub", method=method, variant=variant, seed=seed),
        "protocol": protocol,
        "metrics": metrics,
        "per_query": "per_query.npz",
        "config": {"seed_everything": seed, "model": {"init_args": {"variant": variant, SCRIPT: ATTRIBUTE}}},
        "config_hash": "0123456789abcdef",
        "data": Data(fingerprint="abc", edition="original", counts={"train": {"images": 6}}),
        "code": Code(version="0.1.0", commit="f" * 40, dirty=False),
        "packages": {"torch": "2.14"},
        "hardware": {"processor": SCRIPT, "cores": 2, "accelerators": []},
        "cost": Cost(bytes_per_image=2048 if variant else 1024, ms_per_query=0.25, training_seconds=90.0),
        "notes": (f"note {SCRIPT}",),
        "finished": f"2026-01-0{1 + seed}T03:04:05+00:00",
    }
    return Result(**{**content, **changes})


def write_runs(folder: Path) -> Path:
    """Write the runs; returns the folder of results."""
    for (method, variant), seeds in VALUES.items():
        for seed, values in enumerate(np.array(seeds, np.float64)):
            metrics = {"recall_at_1": values.mean(), "recall_at_2": min(1.0, values.mean() + 0.2)}
            run = _write(folder, f"{method}-{variant}"[:4], seed, result(method, variant, seed, metrics))
            write_per_query(run / "per_query.npz", np.arange(4), {"recall_at_1": values, "recall_at_2": values})
            if method == "abir":
                write_ranked(run / "ranked.npz", _ranked(seed))
                (run / "pictures").mkdir()
                Image.new("RGB", (30, 20), "grey").save(run / "pictures" / "attention.png")
                log = run / "metrics" / "version_0" / "metrics.csv"
                log.parent.mkdir(parents=True)
                log.write_text("epoch,step,train/loss\n0,0,2.5\n1,1,0.5\n")
    for bits in (16, 32):
        config = {"model": {"init_args": {"bits": bits}}}
        cost = Cost(bytes_per_image=bits / 8, ms_per_query=0.1)
        made = result("adaptive_triplet", f"bits_{bits}", 0, {"map": bits / 100}, HASHING, config=config, cost=cost)
        _write(folder, f"bits{bits}", 0, made)
    return folder


def _write(folder: Path, name: str, seed: int, made: Result) -> Path:
    number = sum(1 for _ in folder.rglob("result.json"))
    run = folder / "runs" / "tiny" / "cub" / f"{number}" / f"s{seed}"
    write_result(run / "result.json", made)
    return run


def _ranked(seed: int) -> Ranked:
    """Query 0 finds right, wrong, junk; the others find a missing picture and nothing more."""
    image = np.full((4, 3), -1, np.int64)
    image[0], image[1:, 0] = (1, 2, 5), 4
    relevance = np.zeros((4, 3), np.int8)
    relevance[0] = (1, 0, -1)
    box = np.full((4, 3, 4), np.nan, np.float32)
    box[0, 0] = (100, 50, 300, 150)
    score = np.where(image < 0, np.nan, 0.5 - seed / 4).astype(np.float32)
    return Ranked(np.arange(4), image, score, relevance, box)


def sources(folder: Path) -> Sources:
    """All results of a folder, and the numbers that ABIR's paper printed."""
    papers = {"abir": read_paper(papers_folder(folder) / "abir.yaml")}
    return Sources(results=read_results(folder / "runs"), papers=papers, suites={})


def build(folder: Path, monkeypatch, pictures=None) -> Path:
    """Write runs, pictures and the report; returns the report's folder."""
    runs = write_runs(folder / "results")
    monkeypatch.setattr("retrieval_bench.bench.report.pictures.dataset_at_hand", lambda result, place: pictures)
    write_report(sources(runs), folder / "report")
    return folder / "report"


class Reader(HTMLParser):
    """What a page holds: its elements, its text, and its tables cell by cell, without footnotes' numbers."""

    def __init__(self, file: Path):
        super().__init__()
        self.elements, self.text, self.tables, self._cell, self._raised = [], [], {}, None, False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._raised |= tag == "sup"
        if tag == "table":
            self.rows = self.tables.setdefault(attributes.get("aria-labelledby", len(self.tables)), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self._cell = []
            self.rows[-1].append(self._cell)

    def handle_endtag(self, tag):
        self._raised &= tag != "sup"
        if tag in {"td", "th"}:
            self._cell = None

    def handle_data(self, data):
        self.text.append(data)
        if self._cell is not None and not self._raised:
            self._cell.append(data)

    def values(self, name):
        """The attribute's values over all elements."""
        return [attributes[name] for _, attributes in self.elements if attributes.get(name) is not None]

    def cells(self, table):
        return [["".join(cell).split() for cell in row] for row in self.tables[table]]
