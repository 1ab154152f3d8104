"""Commands called as a user calls them."""

import argparse

import pytest
from bench_cases import make_result, plan, stack, store, suite_file  # noqa: F401

from retrieval_bench.commands import add_commands


@pytest.fixture
def call(capsys):
    """Runs a command; returns its exit status and what it printed."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        add_commands(parser.add_subparsers())
        options = parser.parse_args([str(argument) for argument in arguments])
        status = options.handler(options)
        return status, capsys.readouterr().out

    return run
