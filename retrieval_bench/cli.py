"""One entry point: ``retrieval-bench``."""

import argparse
import re
import sys
from collections.abc import Sequence

import retrieval_bench
from retrieval_bench.commands import add_commands
from retrieval_bench.errors import RetrievalBenchError

# Lightning's verbs read their own options; Lightning is imported only when one of them is called.
_TRAINING = {
    "fit": "train a method",
    "validate": "evaluate a checkpoint as training does",
    "test": "evaluate a checkpoint",
    "predict": "write the descriptors of a data set",
    "benchmark": "train, test and write the result: what `run` starts for each run",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments after the program's name; those of the process if None.

    Returns:
        The exit status: 0 if all went well, 1 if something is wrong that the message names, 2 for wrong options.
    """
    args = list(sys.argv[1:] if args is None else args)
    try:
        if args and args[0] in _TRAINING:
            from retrieval_bench.training.lightning_cli import run

            run(args)
            return 0
        options = _parser().parse_args(args)
        status = _call(options)
    except RetrievalBenchError as error:
        print(f"retrieval-bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("retrieval-bench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `retrieval-bench leaderboard | head`
        sys.stderr.close()
        return 0
    return status


def _call(options: argparse.Namespace) -> int:
    """Run a light command; what the system does not allow becomes one line.

    Raises:
        RetrievalBenchError: If a file cannot be read or written.
    """
    try:
        status: int = options.handler(options)
    except (BrokenPipeError, RetrievalBenchError):
        raise
    except OSError as error:
        # Where it would be written to, as the user knows it: files are made under another name first.
        name = re.sub(r"(\.[0-9a-f]{8})?\.part$", "", str(error.filename or ""))
        file = f"{name}: " if name else ""
        place = next((f" with --{name}" for name in ("to", "output", "results", "root") if hasattr(options, name)), "")
        raise RetrievalBenchError(f"{file}{error.strerror or error}; name another place{place}") from error
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="retrieval-bench",
        description="Benchmark image retrieval: methods side by side, on the same data, protocols and search.",
        epilog="Start without data: retrieval-bench run benchmarks/suites/smoke.yaml",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {retrieval_bench.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_commands(commands)
    for name, what in _TRAINING.items():
        commands.add_parser(name, help=f"{what} (`retrieval-bench {name} --help` lists its options)")
    return parser
