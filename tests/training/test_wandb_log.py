"""What Weights & Biases gets of a run, read back from its files."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from wandb_files import read_run

from retrieval_bench.bench.ranked import Ranked, read_ranked
from retrieval_bench.bench.results import read_result
from retrieval_bench.cli import main
from retrieval_bench.datasets.cub import Cub200
from retrieval_bench.training.wandb_log import WandbLog, ranked_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = ("trainer.yaml", "datasets/cub.yaml", "methods/abir.yaml", "methods/abir/no_se.yaml")
SMALL = [
    *(word for file in FILES for word in ("--config", str(BENCHMARKS / file))),
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--model.init_args.resize", "72", "--model.init_args.crop", "64", "--model.init_args.attention_dim", "8"),
    *("--trainer.precision", "32-true", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--data.init_args.num_workers", "0"),
    *("--data.init_args.classes_per_batch", "2", "--data.init_args.images_per_class", "2"),
    *("--trainer.log_every_n_steps", "1"),
]


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_a_run_leaves_its_names_numbers_curves_table_and_pictures(miniature, run_folder):
    folder = run_folder(variant="no_se")
    places = ["--data.init_args.root", str(miniature), "--trainer.run_dir", str(folder), "--trainer.wandb", "true"]
    assert main(["benchmark", *SMALL, *places]) == 0
    result, run = read_result(folder / "result.json"), read_run(folder)

    assert (run.name, run.group, run.job_type) == ("cub/abir-no_se/s0", "cub/abir-no_se", "benchmark")
    assert run.tags == ["cub", "abir", "no_se", "test", result.protocol.edition]
    assert {key: run.config[key] for key in result.config} == result.config
    assert "lr" not in run.config  # options have their place in the resolved config, and no second one

    for key, value in result.metrics.items():
        assert run.summary[f"eval/zero-shot/{key}"] == pytest.approx(value)
    costs = {key: value for key, value in vars(result.cost).items() if value is not None}
    assert {"parameters", "gmac_per_image", "peak_memory_mib"} <= costs.keys()
    for key, value in costs.items():
        assert run.summary[f"cost/{key}"] == pytest.approx(value)
    assert [row["trainer/global_step"] for row in run.history if "train/loss" in row] == [0]

    columns, rows = run.table("ranked")
    assert columns[:4] == ["query", "picture", "recall_at_1", "right"]
    ranked = read_ranked(folder / "ranked.npz")
    assert len(rows) == 20
    for row in rows:
        found = dict(zip(columns, row, strict=True))
        relevance = ranked.relevance[int(found["query"].split(":")[0])]
        assert found["results"].split(", ") == ["right" if x == 1 else "wrong" for x in relevance]
        assert found["recall_at_1"] == relevance[0]
        assert found["right"] == relevance.sum()
    with Image.open(run.picture("pictures/attention")) as drawn, Image.open(folder / "pictures/attention.png") as own:
        assert drawn.size == own.size


def test_the_table_goes_from_the_worst_query_to_the_best_and_says_right_and_wrong_in_words(miniature):
    dataset, queries = Cub200(miniature), 41
    values = np.linspace(1, 0, queries)
    values[3] = np.nan  # has no positive
    box = np.full((queries, 3, 4), np.nan, np.float32)
    box[:, 0] = 10, 10, 12, 12
    ranked = Ranked(
        query=np.arange(queries),
        image=np.tile([5, 6, -1], (queries, 1)),
        score=np.tile(np.array([0.5, np.nan, np.nan], np.float32), (queries, 1)),
        relevance=np.tile(np.array([1, -1, 0], np.int8), (queries, 1)),
        box=box,
    )
    table = ranked_table("map", ranked, values, dataset)
    assert table.columns == ["query", "picture", "map", "right", "1", "2", "3", "results", "scores"]
    shown = [row[2] for row in table.data]
    assert shown == sorted(shown)
    assert (len(shown), shown[0], shown[-1]) == (20, 0, 1)
    last = table.data[-1]
    assert last[0] == f"0: {dataset.table.path[0]}"
    assert (last[3], last[6], last[7], last[8]) == (1, None, "right, junk", "0.5, ")
    assert (last[4]._caption, last[5]._caption) == ("right 0.5", "junk")
    assert np.asarray(last[4].image).std() > 0


class Broken:
    """A trainer whose runs W&B does not take."""

    identity, resolved_config = None, {}


def test_a_failure_is_one_warning_and_harms_nothing(tmp_path, monkeypatch, recwarn):
    tries = []

    def refuse(**options):
        tries.append(options)
        raise OSError("no network")

    monkeypatch.setattr("wandb.init", refuse)
    log = WandbLog(Broken(), tmp_path)
    for step in range(3):
        log.log_metrics({"train/loss": 1.0}, step)
    result = SimpleNamespace(protocol=SimpleNamespace(name="zero-shot", main_metric="map"), metrics={}, cost=None)
    log.conclude(result, None, None, data=None, pictures=tmp_path)
    assert len(tries) == 1
    (warning,) = [str(x.message) for x in recwarn if "Weights & Biases" in str(x.message)]
    assert "no network" in warning


def test_a_table_that_cannot_be_made_leaves_the_numbers_and_closes_the_run(tmp_path, recwarn):
    kept, ended = {}, []
    log = WandbLog(Broken(), tmp_path)
    log._run = SimpleNamespace(summary=kept, log=lambda content: None, finish=lambda: ended.append(True))
    result = read_result(BENCHMARKS.parent / "results/runs/cub_part/cub/abir/s0/result.json")
    no_ranking: Any = SimpleNamespace()
    log.conclude(result, no_ranking, torch.zeros(1).numpy(), data=None, pictures=tmp_path)
    assert kept["eval/zero-shot/recall_at_1"] == result.metrics["recall_at_1"]
    assert kept["cost/bytes_per_image"] == 2048
    assert ended == [True]
    assert any("Weights & Biases takes no more" in str(x.message) for x in recwarn)
