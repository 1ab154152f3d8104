"""Finished runs on miniatures, one a way to compare descriptors, for tests of what is done with a run afterwards."""

import json
from pathlib import Path

from retrieval_bench.cli import main
from retrieval_bench.datasets.miniature import synthesize

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TRUNK = [
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--data.init_args.num_workers", "0", "--trainer.log_every_n_steps", "1"),
]
# Vectors, hash codes, and codes of regions that are compared by tables.
KINDS = {
    "rmac": (
        "oxford5k",
        [
            *("--model.init_args.max_side", "128", "--model.init_args.whiten", "false"),
            *("--model.init_args.tap", "stride16"),
        ],
    ),
    "adaptive_triplet": (
        "cub",
        [
            *("--model.init_args.backbone", "resnet18", "--model.init_args.freeze_batch_norm", "false"),
            *("--model.init_args.size", "64", "--model.init_args.bits", "16", "--model.init_args.block_width", "0.1"),
            *("--trainer.max_steps", "4", "--data.init_args.batch_size", "16"),
        ],
    ),
    "udq": (
        "oxford5k",
        [
            *("--model.init_args.shorter_side", "96", "--model.init_args.longest_side", "160"),
            *("--model.init_args.tap", "stride16", "--model.init_args.proposals_per_image", "9"),
            *("--model.init_args.dim", "8", "--model.init_args.subspaces", "2", "--model.init_args.codewords", "8"),
            *("--model.init_args.rounds", "null"),
        ],
    ),
}


def finish_run(kind: str, folder: Path) -> Path:
    """A run of a kind in ``folder/results/runs``, and its miniature in ``folder/data/miniature``; returns the run's."""
    dataset, options = KINDS[kind]
    root = synthesize(dataset, folder / "data" / "miniature" / dataset)
    run = folder / "results" / "runs" / "try" / dataset / kind / "s0"
    run.mkdir(parents=True)
    identity = {"suite": "try", "dataset": dataset, "method": kind, "variant": None, "seed": 0, "config_hash": "0"}
    (run / "run.json").write_text(json.dumps(identity))
    files = (BENCHMARKS / name for name in ("trainer.yaml", f"datasets/{dataset}.yaml", f"methods/{kind}.yaml"))
    stack = [word for file in files for word in ("--config", str(file))]
    places = ["--data.init_args.root", str(root), "--trainer.run_dir", str(run)]
    assert main(["benchmark", *stack, *TRUNK, *options, *places]) == 0
    return run
