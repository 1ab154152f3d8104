"""The dashboard in Weights & Biases: leaderboards as tables, and a workspace that compares the runs of all methods."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.summary import Board
from retrieval_bench.bench.tables import Table
from retrieval_bench.bench.words import metric_label

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

JOB_TYPE = "leaderboard"
_PICTURES = ("attention", "regions", "clusters")
_COSTS = {
    "bytes_per_image": "bytes per image",
    "ms_per_query": "ms per query",
    "gmac_per_image": "GMAC per image",
    "training_seconds": "seconds of training",
}


def table_key(board: Board) -> str:
    """What the table of a board is called."""
    protocol = board.protocol
    return f"leaderboard/{protocol.dataset}/{protocol.name}/{protocol.fingerprint}"


def plain(table: Table) -> tuple[list[str], list[list[str | float | None]]]:
    """Columns and rows of a leaderboard, numbers as numbers: fractions, where the leaderboard shows percentages.

    A column that shows deviations over seeds is there as text, too, and what footnotes say of a row is its last cell.
    """
    heads: list[str] = []
    columns: list[Sequence[str | float | None]] = []
    for i, column in enumerate(table.columns):
        cells = [row[i] for row in table.rows]
        if table.only_links(i):
            continue
        numbers = any(cell.value is not None for cell in cells)
        heads.append(column.head)
        columns.append([cell.value if numbers else cell.text for cell in cells])
        if any("±" in cell.text for cell in cells):
            heads.append(f"{column.head} ± deviation")
            columns.append([cell.text for cell in cells])
    heads.append("notes")
    columns.append(["; ".join(dict.fromkeys(note for cell in row for note in cell.notes)) for row in table.rows])
    return heads, [list(row) for row in zip(*columns, strict=True)]


def log_leaderboards(
    tables: Mapping[str, Table], name: str, *, project: str, tags: Sequence[str], folder: Path, online: bool
) -> None:
    """Log leaderboards as a W&B run of their own.

    Args:
        tables: By their keys.
        name: Of the run.
        project: Where to.
        tags: Of the run: the suites that are in the tables.
        folder: Where its files go; it is made.
        online: Whether to send them at once; ``wandb sync`` does so later.

    Raises:
        BenchError: If W&B does not take the project's name or a tag.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    # What tables show waits there until it is synced; by default that is a folder of the user's, for all runs.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))
    try:
        started = wandb.init(
            project=project,
            name=name,
            group=JOB_TYPE,
            job_type=JOB_TYPE,
            tags=list(tags),
            dir=str(folder),
            mode="online" if online else "offline",
        )
    except wandb.errors.UsageError as error:
        raise BenchError(
            f"Weights & Biases refuses the leaderboards: {error}; --project names another place"
        ) from error
    with started as run:
        for key, table in tables.items():
            heads, rows = plain(table)
            run.log({key: wandb.Table(columns=[*heads], data=rows, allow_mixed_types=True)})


def workspace(boards: Sequence[Board], name: str, *, entity: str, project: str, tags: Sequence[str]) -> "Workspace":
    """A workspace with runs grouped over their seeds: leaderboards, metrics, costs, curves, ranked results, pictures.

    Args:
        boards: What was measured.
        name: Of the workspace.
        entity: Whose project it is.
        project: The project.
        tags: Runs with one of these are shown: the suites.

    Raises:
        BenchError: If wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2.interface as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise BenchError(
            "a dashboard needs wandb-workspaces, which is not installed: pip install 'retrieval-bench[dashboard]'"
        ) from error
    measured = {(b.protocol.name, key): metric_label(key) for b in boards for key in b.metrics}
    mains = list(dict.fromkeys((b.protocol.name, b.protocol.main_metric) for b in boards))
    sections: dict[str, list[Any]] = {
        "Leaderboards": [wr.WeavePanelSummaryTable(table_name=table_key(board)) for board in boards],
        "Metrics": [
            wr.BarPlot(title=f"{label}, {protocol}", metrics=[f"eval/{protocol}/{key}"])
            for (protocol, key), label in measured.items()
        ],
        "Accuracy and cost": [
            wr.ScatterPlot(
                title=f"{measured[protocol, key]}, {protocol}, against {words}",
                x=wr.SummaryMetric(f"cost/{cost}"),
                y=wr.SummaryMetric(f"eval/{protocol}/{key}"),
                log_x=True,
            )
            for protocol, key in mains
            for cost, words in _COSTS.items()
        ],
        "Training": [
            wr.LinePlot(title="losses", x="trainer/global_step", metric_regex="^train/"),
            *(
                wr.LinePlot(title=f"{metric_label(key)} in training", x="trainer/global_step", y=[f"val/{key}"])
                for key in dict.fromkeys(key for _, key in mains)
            ),
        ],
        "Ranked results": [wr.WeavePanelSummaryTable(table_name="ranked")],
        "Pictures": [wr.MediaBrowser(title=x, media_keys=[f"pictures/{x}"]) for x in _PICTURES],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[ws.Section(name=title, panels=panels, is_open=True) for title, panels in sections.items()],
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("Group")], filters=ws.And(ws.Tags().isin(list(tags)))),
    )


def specification(made: "Workspace") -> str:
    """What a workspace is, as JSON, as W&B is sent it."""
    text: str = made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text + "\n"


def account() -> str:
    """Who is logged in to W&B.

    Raises:
        BenchError: If nobody is, or W&B cannot be reached.
    """
    import wandb

    if not wandb.api.api_key:
        raise BenchError(
            "nobody is logged in to Weights & Biases: do `wandb login`, or write the dashboard to files with "
            "--offline DIR"
        )
    try:
        return str(wandb.Api().default_entity)
    except Exception as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> BenchError:
    """What to say where W&B does not answer, or refuses."""
    return BenchError(f"Weights & Biases does not take the dashboard ({error}); --offline DIR writes it to files")
