"""The command line as a whole: quick to answer, clear when wrong."""

import subprocess
import sys

import pytest

import retrieval_bench
from retrieval_bench.cli import main


@pytest.mark.parametrize(
    "words", [["--help"], ["data", "--help"], ["data", "list"], ["run", "--help"], ["leaderboard"]]
)
def test_light_commands_never_load_the_heavy_libraries(words):
    check = (
        "import sys; from retrieval_bench.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'faiss', 'wandb', 'sklearn', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for command in (
        "run",
        "leaderboard",
        "regress",
        "data",
        "attention",
        "saliency",
        "fit",
        "validate",
        "test",
        "predict",
    ):
        assert f"  {command} " in text or f"  {command}\n" in text


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"retrieval-bench {retrieval_bench.__version__}\n"


def test_an_unknown_command_fails_with_status_two(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["leaderbord"])
    assert caught.value.code == 2
    assert "leaderbord" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line(capsys):
    assert main(["run", "no_such_suite"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("retrieval-bench: there is no suite no_such_suite")
    assert message.count("\n") == 1


def test_what_cannot_be_written_is_one_line_with_the_next_step(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "results").mkdir()
    target = tmp_path / "file" / "board.md"
    assert main(["leaderboard", "--results", str(tmp_path / "results"), "--output", str(target)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"retrieval-bench: {tmp_path / 'file'}")
    assert "name another place with --output" in message
    assert message.count("\n") == 1


def test_an_interruption_is_no_error(monkeypatch, capsys):
    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("retrieval_bench.commands.leaderboard.handle", interrupted)
    assert main(["leaderboard"]) == 130
    assert capsys.readouterr().err == "retrieval-bench: interrupted\n"
