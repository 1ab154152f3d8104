"""Fills `<!-- name argument -->` lines of the pages with tables of what the code, the cards and the suites say."""

import argparse
import os
import re
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Any

from retrieval_bench.bench.papers import find_paper, papers_folder, read_papers
from retrieval_bench.bench.plan import expand
from retrieval_bench.bench.results import Cost
from retrieval_bench.bench.suite import SUITES, read_suite
from retrieval_bench.bench.words import metric_label
from retrieval_bench.commands import add_commands
from retrieval_bench.datasets import DATASETS, dataset_class
from retrieval_bench.datasets.cards import card_names, load_card

PAPERS = papers_folder(Path("results"))
ROLES = ("train", "query", "gallery")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page; called by mkdocs.

    Args:
        markdown: The page.
    """
    return re.sub(r"^<!-- (\w+) ?(.*?) -->$", lambda found: FILLED[found[1]](*found[2].split()), markdown, flags=re.M)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def counts() -> str:
    """Pictures and classes of each role of every data set, from their cards."""
    rows = []
    for name in card_names():
        card = load_card(name)
        for protocol, roles in card.counts.items():
            cells = [f"{r['images']:,} of {r['classes']:,}" if (r := roles.get(role)) else "" for role in ROLES]
            rows.append([f"`{name}`", card.title, f"`{protocol}`", *cells])
    return table(["key", "data set", "protocol", *(f"{role}: pictures of classes" for role in ROLES)], rows)


def terms() -> str:
    """How each data set is come by, from their cards."""
    rows = []
    for name in card_names():
        card = load_card(name)
        fetched = "`data download`" if card.download == "automatic" else "by hand"
        rows.append([f"`{name}`", fetched, card.terms, f"<{card.homepage}>"])
    return table(["key", "fetched", "terms", "homepage"], rows)


def protocols() -> str:
    """Every protocol that gives numbers, field by field."""
    rows = [
        [
            f"`{name}`",
            f"`{p.name}`",
            p.self_match,
            p.query_crop,
            p.ties,
            ", ".join(metric_label(key) for key in p.metrics),
            f"`{p.fingerprint}`",
        ]
        for name in DATASETS
        for p in dataset_class(name).protocols
        if p.metrics
    ]
    return table(["data set", "protocol", "own picture", "query crop", "ties", "metrics", "fingerprint"], rows)


def paper(key: str) -> str:
    """A paper as it is cited, from the file of its published numbers."""
    found = find_paper(read_papers(PAPERS), key, PAPERS).paper
    return f"{found.authors}: *{found.title}*, {found.venue} {found.year}."


def suites(*patterns: str) -> str:
    """What suites there are, and how many runs each has."""
    rows = []
    for file in sorted({file for pattern in patterns for file in SUITES.glob(f"{pattern}.yaml")}):
        suite = read_suite(file)
        runs = expand(suite, output=Path("results"), data_dir=Path("data"))
        rows.append([f"`{suite.name}`", str(len(runs)), ", ".join(f"`{x}`" for x in suite.datasets), suite.description])
    return table(["suite", "runs", "data sets", "what for"], rows)


def costs() -> str:
    """Every cost of a result, from the docstring of its record."""
    described = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", cleandoc(str(Cost.__doc__)), re.M | re.S)
    return table(["cost", "what it is"], [[name.replace("_", " "), " ".join(text.split())] for name, text in described])


def commands() -> str:
    """The help of every command."""
    os.environ["COLUMNS"] = "100"
    parser = argparse.ArgumentParser(prog="retrieval-bench")
    known = parser.add_subparsers()
    add_commands(known)
    return "\n\n".join(_help(name, command) for name, command in known.choices.items())


def _help(name: str, parser: argparse.ArgumentParser, depth: int = 2) -> str:
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    verbs = [_help(f"{name} {verb}", each, depth + 1) for action in below for verb, each in action.choices.items()]
    return "\n\n".join([f"{'#' * depth} {name}", f"```text\n{parser.format_help()}```", *verbs])


FILLED: dict[str, Callable[..., str]] = {
    "counts": counts,
    "terms": terms,
    "protocols": protocols,
    "paper": paper,
    "suites": suites,
    "costs": costs,
    "commands": commands,
}
