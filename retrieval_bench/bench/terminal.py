"""Pages of tables on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from retrieval_bench.bench.tables import Cell, Column, Page, Table, superscript


def show(page: Page, console: Console) -> None:
    """Print a page; links to result files are left to the formats that can carry them.

    Args:
        page: What to print.
        console: Where to.
    """
    console.print(f"[bold]{escape(page.title)}[/]")
    for line in page.about:
        console.print(escape(line), highlight=False)
    for table in page.tables:
        console.print()
        show_table(table, console)
    for head, lines in page.lists:
        console.print(f"\n[bold]{escape(head)}[/]")
        for line in lines:
            console.print(f"- {escape(line)}", highlight=False)


def show_table(table: Table, console: Console) -> None:
    """Print one table.

    Args:
        table: What to print.
        console: Where to.
    """
    kept = [i for i in range(len(table.columns)) if not table.only_links(i)]
    console.print(f"[bold]{escape(table.title)}[/]")
    for line in table.about:
        console.print(f"[dim]{escape(line)}[/]", highlight=False)
    drawn = RichTable(box=None, pad_edge=False, header_style="bold")
    for i in kept:
        column = table.columns[i]
        drawn.add_column(_marked(table, column, column.head), justify="right" if column.number else "left")
    for row in table.rows:
        drawn.add_row(*(_marked(table, row[i], row[i].text) for i in kept))
    console.print(drawn)
    for number, note in enumerate(table.footnotes, start=1):
        console.print(f"[dim]{superscript([number])} {escape(note)}[/]", highlight=False)
    for remark in table.remarks:
        console.print(f"[dim]{escape(remark)}[/]", highlight=False)


def _marked(table: Table, part: Cell | Column, text: str) -> str:
    written = f"[bold]{escape(text)}[/]" if isinstance(part, Cell) and part.strong else escape(text)
    return " ".join(filter(None, [written, superscript(table.marks(part))]))
