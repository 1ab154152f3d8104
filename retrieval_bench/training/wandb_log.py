"""Weights & Biases: one schema for the runs of all methods. It is offline by default, and it never harms a run.

A run's group is its name without the seed, its tags are data set, method, variant, suite and edition, its config is the
resolved one. Curves go by the names that they are logged by. When the run ends, its summary gets
``eval/PROTOCOL/METRIC`` and ``cost/NAME``, and it shows ``ranked``, a table of queries and what they found, and
``pictures/NAME``.
"""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from retrieval_bench.bench.ranked import JUNK, RELEVANT, WRONG, Ranked
from retrieval_bench.bench.report.ranking import spread_out
from retrieval_bench.bench.results import Result
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.images import open_rgb
from retrieval_bench.pictures.ranked import with_box
from retrieval_bench.pictures.sheet import fitted
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.training.result import portable

if TYPE_CHECKING:
    from wandb import Run, Table

    from retrieval_bench.training.trainer import BenchmarkTrainer

PROJECT = "retrieval-bench"
JOB_TYPE = "benchmark"
RANKED_TABLE = "ranked"
WORDS = {RELEVANT: "right", WRONG: "wrong", JUNK: "junk"}
_STEP = "trainer/global_step"
_QUERIES, _SIDE = 20, 128


class WandbLog(Logger):
    """Logs a run to Weights & Biases; after the first failure it warns and is silent.

    Args:
        trainer: Whose run it is. What the run is called is asked when there is something to log.
        folder: Where the files of W&B go.
    """

    def __init__(self, trainer: "BenchmarkTrainer", folder: Path) -> None:
        super().__init__()
        self._trainer, self._folder = trainer, folder
        self._run: Run | None = None
        self._failed = False

    @property
    def name(self) -> str:
        """The project."""
        return os.environ.get("WANDB_PROJECT", PROJECT)

    @property
    def version(self) -> None:
        """Nothing: W&B numbers its runs itself."""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is the resolved one, in which the options of every method have the same place."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add points to curves."""
        self._attempt(lambda run: run.log({**metrics, _STEP: step}))

    @rank_zero_only
    def conclude(
        self, result: Result, ranked: Ranked | None, values: FloatArray, *, data: RetrievalDataset, pictures: Path
    ) -> None:
        """Close the run with its numbers and what there is to see; the result is safe already.

        Args:
            result: The run's.
            ranked: What its queries found; None where that is not known.
            values: ``(q,)`` the main metric of each query.
            data: The data set.
            pictures: The folder of what the method has drawn of itself.
        """

        def close(run: "Run") -> None:
            import wandb

            numbers = {f"eval/{result.protocol.name}/{key}": value for key, value in result.metrics.items()}
            numbers |= {f"cost/{key}": value for key, value in asdict(result.cost).items() if value is not None}
            try:
                run.summary.update(numbers)
                run.log({f"pictures/{file.stem}": wandb.Image(str(file)) for file in sorted(pictures.glob("*.png"))})
                if ranked is not None:
                    run.log({RANKED_TABLE: ranked_table(result.protocol.main_metric, ranked, values, data)})
            finally:
                run.finish()

        self._attempt(close)

    def _attempt(self, act: "Callable[[Run], None]") -> None:
        if self._failed:
            return
        try:
            self._run = self._run or self._start()
            act(self._run)
        except Exception as error:
            self._failed = True
            rank_zero_warn(f"Weights & Biases takes no more of this run ({error}); its folder has everything")

    def _start(self) -> "Run":
        import wandb

        names: dict[str, Any] = {}
        if (identity := self._trainer.identity) is not None:
            data = getattr(self._trainer, "datamodule", None)
            editions = [data.protocol.edition] if data is not None else []
            tags = [identity.dataset, identity.method, identity.variant or "full", identity.suite, *editions]
            group = identity.name.rpartition("/")[0]
            names = {"name": identity.name, "group": group, "tags": list(dict.fromkeys(tags))}
        # What tables show waits there until it is synced; by default that is a folder of the user's, for all runs.
        os.environ.setdefault("WANDB_DATA_DIR", str(self._folder / "wandb"))
        run = wandb.init(
            project=self.name,
            job_type=JOB_TYPE,
            dir=str(self._folder),
            mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
            config=portable(self._trainer.resolved_config),
            reinit="finish_previous",
            **names,
        )
        run.define_metric(_STEP)
        run.define_metric("*", step_metric=_STEP)
        return run


def ranked_table(metric: str, ranked: Ranked, values: FloatArray, data: RetrievalDataset) -> "Table":
    """Some queries, from the worst to the best, and what they found.

    Args:
        metric: The main metric.
        ranked: What each query found.
        values: ``(q,)`` the main metric of each query; those without a value are not shown.
        data: Whose pictures they are.
    """
    import wandb

    places = [str(rank + 1) for rank in range(ranked.image.shape[1])]
    table = wandb.Table(columns=["query", "picture", metric, "right", *places, "results", "scores"])
    known = np.flatnonzero(np.isfinite(values))
    for row in known[spread_out(values[known].tolist(), _QUERIES)].tolist():
        query, found = int(ranked.query[row]), ranked.image[row] >= 0
        words = [WORDS[int(relevance)] for relevance in ranked.relevance[row][found]]
        scores = ["" if np.isnan(score) else f"{score:.4g}" for score in ranked.score[row][found]]
        pictures: list[Any] = [None] * len(places)
        for i, word in enumerate(words):
            thumbnail = _thumbnail(data, int(ranked.image[row, i]), ranked.box[row, i])
            pictures[i] = wandb.Image(thumbnail, caption=f"{word} {scores[i]}".strip(), file_type="jpg")
        asked = wandb.Image(_thumbnail(data, query, _box_of_query(data, query)), file_type="jpg")
        name = f"{row}: {data.table.path[query]}"
        right = words.count(WORDS[RELEVANT])
        table.add_data(name, asked, float(values[row]), right, *pictures, ", ".join(words), ", ".join(scores))
    return table


def _box_of_query(data: RetrievalDataset, query: int) -> np.ndarray:
    """The part that asks, where the protocol crops."""
    crops = data.protocol.query_crop != "none" or data.protocol.image_crop != "none"
    return data.table.box[query] if crops and data.table.box is not None else np.full(4, np.nan)


def _thumbnail(data: RetrievalDataset, row: int, box: np.ndarray) -> Image.Image:
    pixels = np.asarray(open_rgb(data.image_path(row)))
    return with_box(pixels, tuple(box.tolist()), _SIDE) if np.isfinite(box).all() else fitted(pixels, _SIDE)
