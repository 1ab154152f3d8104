"""``dashboard``: leaderboards and a workspace in Weights & Biases."""

import argparse
import os
from pathlib import Path

from retrieval_bench.commands.parsing import Subparsers, add_results, command


def add(commands: Subparsers) -> None:
    """Add ``dashboard``."""
    parser = command(
        commands,
        "dashboard",
        help="make leaderboards and a workspace in Weights & Biases",
        description="Log the leaderboards to Weights & Biases, and make a workspace there that compares the runs, "
        "those that were logged with --trainer.wandb true. Runs that are logged later appear in it, too; made again, "
        "it is a new workspace.",
        example="retrieval-bench dashboard --suite smoke --offline results/dashboard",
    )
    parser.add_argument("--suite", metavar="SUITE", help="only results of this suite")
    add_results(parser)
    parser.add_argument(
        "--project", default=os.environ.get("WANDB_PROJECT", "retrieval-bench"), help="default: retrieval-bench"
    )
    parser.add_argument("--entity", help="whose project it is (default: who is logged in)")
    parser.add_argument(
        "--offline",
        type=Path,
        metavar="DIR",
        help="send nothing: write the workspace as JSON and the leaderboards as an offline run, for `wandb sync`",
    )
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Log the leaderboards, make the workspace, and say where they are."""
    from retrieval_bench.bench.dashboard import (
        account,
        log_leaderboards,
        specification,
        table_key,
        unreachable,
        workspace,
    )
    from retrieval_bench.bench.errors import BenchError
    from retrieval_bench.bench.files import write_whole
    from retrieval_bench.bench.leaderboard import leaderboard
    from retrieval_bench.bench.papers import papers_folder, read_papers
    from retrieval_bench.bench.suite import find_suite, known_suites
    from retrieval_bench.bench.summary import boards
    from retrieval_bench.commands.tables import results_below

    suite = Path(options.suite).stem if options.suite else None
    results = results_below(options.results, suite)
    if not results:
        if suite:
            find_suite(options.suite)  # a wrong name rather than a suite nobody has run
        raise BenchError(f"there are no results in {options.results} to show; `retrieval-bench run SUITE` makes them")
    tags = sorted({result.run.suite for result in results.values()})
    suites = known_suites(set(tags))
    gathered = boards(results, suites)
    page = leaderboard(results, papers=read_papers(papers_folder(options.results)), suites=suites)
    tables = {table_key(board): table for board, table in zip(gathered, page.tables, strict=True)}
    name, project = suite or "all suites", options.project
    online = options.offline is None
    entity = options.entity or (account() if online else os.environ.get("WANDB_ENTITY", ""))
    made = workspace(gathered, name, entity=entity, project=project, tags=tags)
    folder = options.offline or options.results
    if not online:
        log_leaderboards(tables, f"leaderboard/{name}", project=project, tags=tags, folder=folder, online=False)
        write_whole(folder / "workspace.json", specification(made))
        print(f"wrote {folder / 'workspace.json'}; `wandb sync` sends the run beside it")
        return 0
    try:
        log_leaderboards(tables, f"leaderboard/{name}", project=project, tags=tags, folder=folder, online=True)
        made.save()  # type: ignore[no-untyped-call]  # of wandb-workspaces
    except Exception as error:
        raise unreachable(error) from error
    print(f"made the workspace {made.url}")
    return 0
