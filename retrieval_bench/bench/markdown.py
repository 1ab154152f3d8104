"""Pages of tables as Markdown."""

import re
from pathlib import Path

from rich.cells import cell_len

from retrieval_bench.bench.tables import Cell, Column, Page, Table, relative, superscript


def markdown(page: Page, base: Path) -> str:
    """A page as GitHub Markdown that reads well raw, too.

    Args:
        page: What to write.
        base: The folder the file will lie in, which links start from.
    """
    links: dict[str, str] = {}
    parts = [f"# {_md(page.title)}", *map(_md, page.about)]
    for table in page.tables:
        parts += [f"## {_md(table.title)}", *map(_md, table.about), _md_table(table, base, links)]
        notes = [f"{superscript([n])} {_md(note)}" for n, note in enumerate(table.footnotes, start=1)]
        if notes or table.remarks:
            parts.append("\n".join(f"- {line}" for line in [*notes, *map(_md, table.remarks)]))
    for head, lines in page.lists:
        parts += [f"## {_md(head)}", "\n".join(f"- {_md(line)}" for line in lines)]
    if links:
        parts.append("\n".join(f"[{label}]: {target}" for target, label in links.items()))
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    return re.sub(r"([\\*<>|`])", r"\\\1", text)


def _md_table(table: Table, base: Path, links: dict[str, str]) -> str:
    def cell(part: Cell) -> str:
        shown = []
        for text, target in part.links:
            # Addresses stand below the tables, so that the columns stay narrow.
            label = links.setdefault(relative(target, base), f"r{len(links) + 1}")
            shown.append(f"[{_md(text)}][{label}]")
        text = f"**{_md(part.text)}**" if part.strong else _md(part.text)
        return " ".join([text, *shown] if part.text else shown) + _raised(table, part)

    heads = [_md(column.head) + _raised(table, column) for column in table.columns]
    rows = [[cell(part) for part in row] for row in table.rows]
    widths = [max(3, *(cell_len(line[i]) for line in [heads, *rows])) for i in range(len(heads))]
    rules = [
        "-" * (width - 1) + ":" if column.number else "-" * width
        for width, column in zip(widths, table.columns, strict=True)
    ]

    def line(cells: list[str]) -> str:
        padded = []
        for text, width, column in zip(cells, widths, table.columns, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if column.number else text + space)
        return f"| {' | '.join(padded)} |"

    return "\n".join(line(cells) for cells in [heads, rules, *rows])


def _raised(table: Table, part: Cell | Column) -> str:
    marks = table.marks(part)
    return f" {superscript(marks)}" if marks else ""
