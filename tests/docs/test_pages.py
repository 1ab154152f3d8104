"""What the documentation tells a reader to type can be typed, what it names exists, and what it generates is true."""

import importlib.util
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from retrieval_bench import cli
from retrieval_bench.bench.results import Cost
from retrieval_bench.bench.suite import read_suite
from retrieval_bench.cli import _TRAINING
from retrieval_bench.datasets.cards import card_names, load_card
from retrieval_bench.retrieval.metrics import METRICS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
PARSER = cli._parser()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def typed(text: str) -> list[str]:
    """The command lines in the blocks of a page."""
    blocks = [body.replace("\\\n", " ") for language, body in FENCE.findall(text) if language in ("", "sh")]
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


LINES = [pytest.param(line, id=f"{page.name}: {line[:60]}") for page in PAGES for line in typed(page.read_text())]


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("line", LINES)
def test_what_is_shown_can_be_typed(line):
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    if words[0] == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert [word for word in words[1:] if "=" not in word and word not in targets] == []
        return
    assert words[0] == "retrieval-bench", f"nobody checks {words[0]}"
    if words[1] in _TRAINING:
        check_training(words[2:])
        return
    if words[-1] == "--help":
        assert words[1] in PARSER._subparsers._group_actions[0].choices
        return
    options = PARSER.parse_args(words[1:])
    if words[1] in ("run", "submit"):
        read_suite(Path("benchmarks/suites") / f"{Path(options.suite).stem}.yaml")


def check_training(words: list[str]) -> None:
    """Lightning's verbs: files exist, and options are of a group that there is."""
    for option, value in zip(words, [*words[1:], ""], strict=True):
        if option == "--config":
            assert "…" in value or (ROOT / value).is_file(), value
        elif option.startswith("--"):
            assert option.startswith(("--trainer.", "--data.", "--model.")) or option in ("--help", "--ckpt_path"), (
                option
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_targets_and_files_named_in_sentences_exist(page):
    sentences = FENCE.sub("", page.read_text())
    commands = {*_TRAINING, *PARSER._subparsers._group_actions[0].choices}
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`retrieval-bench ([a-z][\w-]*)", sentences)) <= commands
    assert set(re.findall(r"`make ([a-z][\w-]*)", sentences)) <= targets
    named = re.findall(r"`((?:retrieval_bench|benchmarks|datasets|results|tests|docs)/[\w/.-]+)`", sentences)
    known = [name for name in named if "<" not in name and not name.startswith(("results/runs", "results/jobs"))]
    assert [name for name in known if not any((top / name).exists() for top in (ROOT, ROOT / "retrieval_bench"))] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/methods/*.md")), ids=lambda page: page.name)
def test_decisions_name_variants_and_options_that_there_are(page):
    variants = {file.stem for file in ROOT.glob("benchmarks/methods/*/*.yaml")}
    rooms = [ROOT / "retrieval_bench" / room for room in ("methods", "nn", "losses")]
    words = {word for room in rooms for file in room.glob("*.py") for word in re.findall(r"\w+", file.read_text())}
    decided = re.findall(r"^\|[^|]*\|([^|]*)\|", page.read_text(), re.M)
    named = {name for cell in decided for name in re.findall(r"`(\w+)`", cell)}
    assert named
    assert named - variants - words == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_place_of_a_machine(page):
    assert re.findall(r"(?:/home|/work|/root|/mnt|/data|/tmp)/\S*", page.read_text()) == []


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs/generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_marker_of_a_page_is_filled(generated):
    for page in ROOT.glob("docs/**/*.md"):
        assert "<!--" not in generated.on_page_markdown(page.read_text()), page


def test_every_metric_and_cost_is_defined(generated):
    page = generated.on_page_markdown((ROOT / "docs/protocols.md").read_text())
    for name in METRICS:
        assert f"| `{name.replace('<k>', 'K').replace('<radius>', '2')}` " in page
    for cost in fields(Cost):
        assert f"| {cost.name.replace('_', ' ')} | " in page


def test_the_table_of_counts_has_every_card(generated):
    table = generated.counts()
    assert "| `cub` | CUB-200-2011 | `zero-shot` | 5,864 of 100 | 5,924 of 100 | 5,924 of 100 |" in table
    rows = sum(len(load_card(name).counts) for name in card_names())
    assert len(table.splitlines()) == rows + 2


def test_the_table_of_suites_counts_their_runs(generated):
    assert "| `udq_table3` | 48 |" in generated.suites("udq_*")


def test_the_example_of_a_method_describes_pictures():
    import torch

    (code,) = [
        body for language, body in FENCE.findall((ROOT / "docs/add_method.md").read_text()) if language == "python"
    ]
    names: dict[str, type] = {}
    exec(code, names)
    method = names["MeanOfMap"](weights="none", size=64).eval()
    batch = {"image": torch.rand(2, 3, 64, 64), "index": torch.tensor([5, 3])}
    with torch.inference_mode():
        found = method.embed(batch)
    assert found.image.tolist() == [5, 3]
    assert torch.allclose(found.data.norm(dim=1), torch.ones(2))
