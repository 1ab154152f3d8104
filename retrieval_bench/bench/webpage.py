"""Pages of tables as HTML."""

import html
from pathlib import Path

from retrieval_bench.bench.tables import Cell, Column, Page, Table, relative


def webpage(page: Page, base: Path) -> str:
    """A page as plain HTML whose tables a screen reader can read.

    Args:
        page: What to write.
        base: The folder the file will lie in, which links start from.
    """
    escape = html.escape
    body = [f"<h1>{escape(page.title)}</h1>", *(f"<p>{escape(line)}</p>" for line in page.about)]
    for number, table in enumerate(page.tables, start=1):
        body += _html_table(table, base, f"t{number}")
    for head, lines in page.lists:
        body += [f"<h2>{escape(head)}</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]
    start = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(page.title)}</title>",
        "<style>",
        ":root { color-scheme: light dark; }",
        "body { font-family: sans-serif; line-height: 1.4; margin: 2em; }",
        "p, ol, ul { max-width: 75ch; }",
        # Wide tables scroll by themselves, by keyboard too, instead of pushing the page aside.
        ".scroller { overflow-x: auto; }",
        "table { border-collapse: collapse; }",
        # Half transparent grey is seen on white and on black.
        "th, td { padding: 0.2em 0.7em; border-bottom: 1px solid #8884; text-align: left; }",
        "thead th { vertical-align: bottom; }",
        "tbody th, td { white-space: nowrap; }",
        "tbody th { font-weight: normal; }",
        "th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }",
        "sup { line-height: 0; }",
        "@media (max-width: 40em) { body { margin: 1em; } }",
        "</style>",
        "</head>",
    ]
    return "\n".join([*start, "<body>", *body, "</body>", "</html>"]) + "\n"


def _html_table(table: Table, base: Path, name: str) -> list[str]:
    def marked(part: Cell | Column, text: str) -> str:
        marks = table.marks(part)
        notes = ", ".join(f'<a href="#{name}-{n}">{n}</a>' for n in marks)
        written = html.escape(text)
        if isinstance(part, Cell) and part.strong:
            written = f"<strong>{written}</strong>"
        return written + (f"<sup>{notes}</sup>" if marks else "")

    def cell(part: Cell) -> str:
        links = " ".join(
            f'<a href="{html.escape(relative(target, base))}">{html.escape(text)}</a>' for text, target in part.links
        )
        return " ".join(filter(None, [marked(part, part.text), links]))

    kinds = [' class="number"' if column.number else "" for column in table.columns]
    lines = [
        f'<h2 id="{name}">{html.escape(table.title)}</h2>',
        *(f"<p>{html.escape(line)}</p>" for line in table.about),
        f'<div class="scroller" role="region" aria-labelledby="{name}" tabindex="0">',
        f'<table aria-labelledby="{name}">',
        "<thead>",
        "<tr>",
        *(
            f'<th scope="col"{kind}>{marked(column, column.head)}</th>'
            for kind, column in zip(kinds, table.columns, strict=True)
        ),
        "</tr>",
        "</thead>",
        "<tbody>",
    ]
    for first, *others in table.rows:
        cells = [f"<td{kind}>{cell(part)}</td>" for kind, part in zip(kinds[1:], others, strict=True)]
        lines += ["<tr>", f'<th scope="row">{cell(first)}</th>', *cells, "</tr>"]
    lines += ["</tbody>", "</table>", "</div>"]
    if table.footnotes:
        notes = enumerate(table.footnotes, start=1)
        lines += ["<ol>", *(f'<li id="{name}-{n}">{html.escape(note)}</li>' for n, note in notes), "</ol>"]
    return lines + [f"<p>{html.escape(remark)}</p>" for remark in table.remarks]
