"""The commands, one module each: ``add`` makes the parser and sets ``handler``, which returns the exit status.

Light to import: what a command works with is imported when it is called.
"""

from retrieval_bench.commands import (
    attention,
    clusters,
    compare,
    dashboard,
    data,
    evaluate,
    export,
    index,
    leaderboard,
    plot,
    proposals,
    ranked,
    region_precision,
    regress,
    report,
    run,
    saliency,
    search,
    submit,
)
from retrieval_bench.commands.parsing import Subparsers

COMMANDS = (
    run,
    submit,
    leaderboard,
    compare,
    report,
    dashboard,
    evaluate,
    regress,
    data,
    attention,
    saliency,
    proposals,
    clusters,
    region_precision,
    ranked,
    plot,
    index,
    search,
    export,
)


def add_commands(commands: Subparsers) -> None:
    """Add every command, in the order of the help."""
    for module in COMMANDS:
        module.add(commands)
