import argparse

import pytest

from retrieval_bench.commands import COMMANDS, add_commands, data

NAMES = [module.__name__.rpartition(".")[2].replace("_", "-") for module in COMMANDS if module is not data]


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_an_example_that_parses(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # folded, a word may end at a hyphen
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    with pytest.raises(SystemExit) as end:
        parser.parse_args([name, "--help"])
    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    example = printed.partition("example: retrieval-bench ")[2].split()
    assert callable(parser.parse_args(example).handler)
