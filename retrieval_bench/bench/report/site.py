"""The report as a whole: every page, from results to files."""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import retrieval_bench
from retrieval_bench.bench.config import comparable
from retrieval_bench.bench.facts import dataset_facts
from retrieval_bench.bench.leaderboard import Facts, leaderboard
from retrieval_bench.bench.paper_tables import paper_page
from retrieval_bench.bench.papers import Paper
from retrieval_bench.bench.report.boards import BoardView, RankedBoard
from retrieval_bench.bench.report.entries import Entry, dataset_page, entries, paper_file, result_file
from retrieval_bench.bench.report.figures import board_plots
from retrieval_bench.bench.report.folder import renewed
from retrieval_bench.bench.report.pictures import Albums, keep_drawing
from retrieval_bench.bench.report.rendering import environment_of, make_environment, moment
from retrieval_bench.bench.report.training import training_plots
from retrieval_bench.bench.report.versus import Duel, duel_plot, duels
from retrieval_bench.bench.results import Result
from retrieval_bench.bench.suite import Suite
from retrieval_bench.bench.summary import boards
from retrieval_bench.bench.tables import Cell, Page

_NEWEST = 10
_PICTURES = {
    "attention": "Where it looks: attention",
    "clusters": "What belongs together: clusters of activations",
    "regions": "Which regions count",
}
"""What a run may draw of itself, by the name of the file."""


_PARTS = {"before": "before it was fitted", "best": "best on test"}


@dataclass(frozen=True)
class Sources:
    """What a report is made from.

    Attributes:
        results: By file.
        papers: Published numbers by the papers' keys.
        suites: The suites that are known, by name.
        data: The folder of all data sets, None for where the runs found them.
        facts: Gives what is known of a data set.
    """

    results: Mapping[Path, Result]
    papers: Mapping[str, Paper]
    suites: Mapping[str, Suite]
    data: Path | None = None
    facts: Facts = dataset_facts


def write_report(sources: Sources, output: Path) -> int:
    """Write a report, whole or not at all.

    Args:
        sources: What it is made from.
        output: Its folder; an earlier report there is replaced.

    Returns:
        How many pages it has.

    Raises:
        BenchError: If something else than a report is in the folder, or one run is there twice.
    """
    with renewed(output) as folder:
        return _Site(sources, folder).write()


class _Site:
    def __init__(self, sources: Sources, folder: Path) -> None:
        self.sources, self.folder = sources, folder
        self.albums = Albums(folder, sources.data)
        self.pages = 0
        self.environment = make_environment()
        self.environment.globals |= {
            "version": retrieval_bench.__version__,
            "amount": len(sources.results),
            "latest": max((moment(r.finished) for r in sources.results.values()), default=""),
        }

    def write(self) -> int:
        s = self.sources
        tables = leaderboard(s.results, papers=s.papers, suites=s.suites, facts=s.facts).tables
        views: dict[str, list[BoardView]] = defaultdict(list)
        for board, table in zip(boards(s.results, s.suites), tables, strict=True):
            rows = entries(board)
            plots = board_plots(board, rows, s.papers, s.facts)
            views[board.protocol.dataset].append(BoardView(board, table, rows, duels(rows), plots))
        for shown in views.values():
            shown.sort(key=lambda view: view.order)
        papers = {key: paper_page(p, s.results, suites=s.suites, facts=s.facts) for key, p in s.papers.items()}
        self._index(views, papers)
        for dataset, shown in views.items():
            self._render(
                "dataset", dataset_page(dataset), title=self._title(dataset), views=shown, files=self._files(shown)
            )
            for view in shown:
                self._board(view)
        for key, page in papers.items():
            self._render("paper", paper_file(key), page=page, hrefs=self._hrefs(views))
        for name in ("style.css", "script.js"):
            source = Path(__file__).parent / "templates" / name
            (self.folder / name).write_bytes(source.read_bytes())
        return self.pages

    def _title(self, dataset: str) -> str:
        facts = self.sources.facts(dataset)
        return facts.title if facts else dataset

    def _hrefs(self, views: Mapping[str, list[BoardView]]) -> dict[Path, str]:
        """By result file, the page of its setting."""
        return {
            file: entry.page
            for shown in views.values()
            for view in shown
            for entry in view.entries
            for file, _ in entry.row.results.values()
        }

    def _files(self, shown: Sequence[BoardView]) -> dict[Path, str]:
        """By result file, its copy in the report."""
        return {
            entry.row.results[seed][0]: result_file(entry, seed)
            for view in shown
            for entry in view.entries
            for seed in entry.row.seeds
        }

    def _index(self, views: Mapping[str, list[BoardView]], papers: Mapping[str, Page]) -> None:
        methods: dict[tuple[str, bool], list[Entry]] = defaultdict(list)
        for shown in views.values():
            for view in shown:
                for entry in view.entries:
                    if entry.row.counted:
                        methods[entry.row.method, entry.row.guest].append(entry)
        self._render(
            "index",
            "index.html",
            views={dataset: (self._title(dataset), shown) for dataset, shown in sorted(views.items())},
            newest=_newest(views),
            methods=dict(sorted(methods.items())),
            papers={key: (page, self.sources.papers[key].paper) for key, page in papers.items()},
        )

    def _board(self, view: BoardView) -> None:
        ranked = RankedBoard(view.entries, self.albums)
        for entry, cells in zip(view.entries, view.table.rows, strict=True):
            if entry.row.counted:
                self._setting(entry, cells[0], view, ranked)
        for duel in view.duels:
            self._duel(duel, view, ranked)

    def _setting(self, entry: Entry, head: Cell, view: BoardView, ranked: RankedBoard) -> None:
        row = entry.row
        files = {seed: (row.results[seed][0], result_file(entry, seed)) for seed in row.seeds}
        for file, name in files.values():
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, self.folder / name)
        configs: dict[str, list[int]] = defaultdict(list)
        for seed in row.seeds:
            configs[yaml.safe_dump(comparable(row.results[seed][1].config), sort_keys=False)].append(seed)
        run = ranked.runs.get(entry.page)
        self._render(
            "setting",
            entry.page,
            entry=entry,
            view=view,
            notes=head.notes,
            files=files,
            configs=configs,
            parts=[part for part in _PARTS if any(getattr(result, part) for result in row.counted)],
            part_names=_PARTS,
            costs=[name for name in asdict(row.counted[0].cost) if any(getattr(r.cost, name) for r in row.counted)],
            environment=environment_of(entry),
            plots=training_plots(row),
            pictures=self._pictures(entry),
            ranked=ranked.lists(entry),
            ranked_seed=run[0] if run else None,
            album=self.albums.of(run[1]) if run else None,
        )

    def _pictures(self, entry: Entry) -> list[tuple[str, str, str]]:
        """What the first seed that drew something drew of itself: title, name and file of each picture."""
        for seed in entry.row.seeds:
            drawn = sorted((entry.row.results[seed][0].parent / "pictures").glob("*.png"))
            if drawn:
                return [(_PICTURES.get(p.stem, p.stem), p.stem, keep_drawing(self.folder, p)) for p in drawn]
        return []

    def _duel(self, duel: Duel, view: BoardView, ranked: RankedBoard) -> None:
        won, lost = ranked.sides(duel)
        self._render(
            "compare",
            duel.page,
            duel=duel,
            view=view,
            plots_shown=[duel_plot(duel)],
            won=won,
            lost=lost,
            options=_differing(duel),
        )

    def _render(self, template: str, place: str, /, **context: Any) -> None:
        file = self.folder / place
        file.parent.mkdir(exist_ok=True)
        text = self.environment.get_template(f"{template}.html.j2").render(
            root="../" if "/" in place else "", **context
        )
        file.write_text(text, encoding="utf-8", newline="\n")
        self.pages += 1


def _newest(views: Mapping[str, list[BoardView]]) -> list[tuple[str, Entry, BoardView]]:
    """The settings that were finished last, each with the moment."""
    found = [
        (max(moment(result.finished) for result in entry.row.counted), entry, view)
        for shown in views.values()
        for view in shown
        for entry in view.entries
        if entry.row.counted
    ]
    return sorted(found, key=lambda item: (item[0], item[1].page), reverse=True)[:_NEWEST]


def _differing(duel: Duel) -> list[tuple[str, Any, Any]]:
    """The options in which two settings differ."""
    a, b = duel.a.setting.options, duel.b.setting.options
    names = dict.fromkeys([*a, *b])
    return [(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]
