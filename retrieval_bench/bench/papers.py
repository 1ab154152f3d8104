"""Published numbers: one YAML file a paper, its tables row by row, and which of our settings stands for which cell."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.records import build, suggestion
from retrieval_bench.bench.suite import FULL, read_yaml


@dataclass(frozen=True, kw_only=True)
class PaperInfo:
    """The paper itself."""

    key: str
    title: str
    authors: str
    venue: str
    year: int
    doi: str | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class PaperColumn:
    """One printed column.

    Attributes:
        id: Its key in the rows' values.
        metric: What is measured, ``recall_at_k`` together with ``k``.
        dataset: On what, None where the rows say it.
        protocol: The data set's protocol that it is measured under; its default one if neither this nor the row says.
        k: The K of the metric.
        printed_header: What the paper prints above it.
        backbone: The trunk, where columns differ in it.
        method: The method, where columns differ in it.
        bits: The code's length, where columns differ in it.
        postproc: Whether re-ranking or query expansion came after the search.
        cite: The number of the source in the paper's references.
    """

    id: str
    metric: str
    dataset: str | None = None
    protocol: str | None = None
    k: int | None = None
    printed_header: str | None = None
    backbone: str | None = None
    method: str | None = None
    bits: int | None = None
    postproc: bool = False
    cite: int | None = None

    def __post_init__(self) -> None:
        if self.metric.endswith("_at_k") and self.k is None:
            raise ValueError(f"column {self.id} measures {self.metric} but names no k")

    @property
    def key(self) -> str:
        """The metric's key in a result."""
        return self.metric if self.k is None else self.metric.replace("_at_k", f"_at_{self.k}")


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One printed row; ``config`` is our setting that should reproduce it, None for cited numbers.

    ``protocol`` is the data set's protocol that the row is measured under, where rows differ in it.
    What a paper prints beside the numbers (``dim``, ``code_length``, ``M``, ``K``, ``bits``) and what was found out
    about them (flags, repairs of the text recognition, values only hinted at) is kept as it stands in the file.
    """

    label: str
    role: Literal["own", "ablation", "baseline", "competitor"]
    config: str | None
    values: dict[str, float | None]
    cite: int | None = None
    protocol: str | None = None
    image_protocol: str | dict[str, str] | None = None
    dim: int | None = None
    code_length: str | None = None
    M: int | None = None
    K: int | None = None
    bits: int | None = None
    spans_both_columns: bool = False
    ocr_raw: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    cell_flags: dict[str, str] = field(default_factory=dict)
    approximate: dict[str, str] = field(default_factory=dict)
    provenance: str | None = None


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One printed table."""

    id: str
    about: str
    unit: Literal["percent", "fraction", "s"]
    higher_is_better: bool
    ocr: str
    columns: list[PaperColumn]
    rows: list[PaperRow]
    decimals: int | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = [column.id for column in self.columns]
        if len(set(ids)) < len(ids):
            raise ValueError(f"table {self.id} has two columns of one id")
        for row in self.rows:
            for key in (*row.values, *row.cell_flags):
                if key not in ids:
                    raise ValueError(f"table {self.id}, row {row.label}: no column {key}{suggestion(key, ids)}")
            if missing := [key for key in ids if key not in row.values]:
                raise ValueError(f"table {self.id}, row {row.label}: no value for {', '.join(missing)} (null if none)")

    @property
    def places(self) -> int:
        """Decimals to print: those the paper uses."""
        if self.decimals is not None:
            return self.decimals
        values = [value for row in self.rows for value in row.values.values() if value is not None]
        return max((len(repr(value).partition(".")[2]) for value in values), default=1)

    @property
    def scale(self) -> float | None:
        """What a fraction is multiplied with to stand in this table, None if no fraction belongs in it."""
        return {"percent": 100.0, "fraction": 1.0, "s": None}[self.unit]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One file of published numbers.

    ``other_names`` are variants that have the configuration of one that a row names: its numbers are theirs, too.
    """

    schema_version: Literal[1]
    paper: PaperInfo
    tables: list[PaperTable]
    ocr: dict[str, Any] = field(default_factory=dict)
    text_claims: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings_to_reproduce: list[dict[str, Any]] = field(default_factory=list)
    other_names: dict[str, str] = field(default_factory=dict)


def read_paper(path: Path) -> Paper:
    """Read a file of published numbers.

    Raises:
        RecordError: If a field is unknown, missing or of the wrong type, or a row does not fit its columns.
        BenchError: If it is no YAML, or not named after the paper's key.
    """
    paper = build(Paper, read_yaml(path), file=path)
    if paper.paper.key != path.stem:
        raise BenchError(f"{path}: paper.key is {paper.paper.key!r}, expected {path.stem!r} after the file's name")
    return paper


def read_papers(folder: Path) -> dict[str, Paper]:
    """All files of published numbers in a folder, by the papers' keys."""
    return {path.stem: read_paper(path) for path in sorted(folder.glob("*.yaml"))}


def papers_folder(results: Path) -> Path:
    """Where the published numbers are: beside the results, or in the checkout."""
    beside = results / "papers"
    return beside if beside.is_dir() else Path(__file__).resolve().parents[2] / "results" / "papers"


def find_paper(papers: dict[str, Paper], key: str, folder: Path) -> Paper:
    """One paper.

    Raises:
        BenchError: If there is none of this key.
    """
    if key not in papers:
        raise BenchError(f"there are no published numbers of {key!r} in {folder}{suggestion(key, papers)}")
    return papers[key]


def setting_of(paper: Paper, row: PaperRow, column: PaperColumn) -> tuple[str, str | None] | None:
    """Which of our settings stands for a cell, as method and variant (None for the method's own config).

    A row may name several: ``{a,b}`` is chosen by what the column is about, ``x | y`` by which is nearer to the
    column's id, the first one if neither is. A column after post-processing or of another method than the paper's
    is no setting's.
    """
    if row.config is None or column.dataset is None or column.postproc:
        return None
    if column.method is not None and column.method.lower() != paper.paper.key:
        return None
    words = {*column.id.split("_"), *(str(fact) for fact in (column.dataset, column.backbone, column.bits) if fact)}
    options = [option.strip() for option in row.config.split("|")]
    nearest = max(options, key=lambda option: len(words & set(option.partition("/")[2].split("_"))))
    chosen = re.sub(r"\{([^}]*)\}", lambda group: _chosen(group[1].split(","), words), nearest)
    method, _, variant = chosen.partition("/")
    if "{" in chosen or not variant:
        return None
    return method, None if variant == FULL else variant


def way_of(row: PaperRow, column: PaperColumn) -> str | None:
    """The name of the protocol that a cell is measured under, None for the data set's default one."""
    return row.protocol or column.protocol


def _chosen(alternatives: list[str], words: set[str]) -> str:
    """The alternative the column names, or an open brace for none or several."""
    named = [alternative for alternative in alternatives if alternative.strip() in words]
    return named[0].strip() if len(named) == 1 else "{"


def printed_value(
    paper: Paper,
    setting: tuple[str, str | None],
    dataset: str,
    metric: str,
    ways: Collection[str | None] = (None,),
) -> float | None:
    """The paper's own number for one of our settings, as a fraction.

    Args:
        paper: The paper.
        setting: Method and variant.
        dataset: The data set.
        metric: The metric's key in a result.
        ways: What the paper may call the way of measuring: a protocol's name, None for the default one.

    Returns:
        The first printed value in the order of the tables, None if the paper prints none.
    """
    method, variant = setting
    named = (method, paper.other_names.get(variant or "", variant))
    for table in paper.tables:
        if table.scale is None:
            continue
        for row in table.rows:
            for column in table.columns:
                value = row.values[column.id]
                if value is None or (column.dataset, column.key) != (dataset, metric):
                    continue
                if way_of(row, column) in ways and setting_of(paper, row, column) == named:
                    # Without the binary tail that dividing a printed decimal leaves.
                    return round(value / table.scale, 9)
    return None
