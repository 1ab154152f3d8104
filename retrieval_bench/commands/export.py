"""``export``: write a run's network as one file for other programs."""

import argparse
from pathlib import Path
from typing import Any

from retrieval_bench.commands.parsing import Subparsers, add_results, command


def add(commands: Subparsers) -> None:
    """Add ``export``."""
    parser = command(
        commands,
        "export",
        help="write a network as ONNX or torch.export",
        description="Write the network that describes pictures as one file, with normalisation, whitening, hashing and "
        "codes, and beside it, as JSON, how pictures are prepared for it and how descriptors are compared. What was "
        "written is run on several inputs and compared with the network; if they differ, nothing is left.",
        example="retrieval-bench export --run smoke/cub/abir/s0 --output abir.onnx",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="RUN", help="a run's folder, or its name below results/runs")
    source.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint that training wrote")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="ends in .onnx or .pt2")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of all pictures; R-MAC and regional attention need it, for their regions hang on it",
    )
    add_results(parser)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Export, and say how much it differs."""
    from retrieval_bench.training.checkpoints import checkpoint_facts, load_method
    from retrieval_bench.training.exporting import export
    from retrieval_bench.training.finished import open_run

    origin: dict[str, Any] = {}
    if options.run is not None:
        run = open_run(options.run, options.results)
        method, facts = run.load(), run.checkpoint
        origin = {"run": f"{run.result.run.suite}/{run.result.run.name}", "config_hash": run.result.config_hash}
    else:
        method = load_method(options.checkpoint)
        facts = checkpoint_facts(options.checkpoint, options.checkpoint.parent)
    origin["checkpoint_sha256"] = facts.sha256
    exported = export(method, options.output, origin, tuple(options.size) if options.size else None)
    print(f"wrote {exported.file} and {exported.facts}")
    codes = f", {exported.differing_codes:.2%} of its codes" if exported.differing_codes else ""
    print(f"largest difference from the network: {exported.difference:.1e} of the largest value{codes}")
    return 0
