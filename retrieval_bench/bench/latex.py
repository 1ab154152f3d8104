"""Pages of tables as LaTeX."""

from pathlib import Path

from retrieval_bench.bench.tables import Cell, Column, Page, Table

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "↳": r"$\hookrightarrow$",
    "·": r"$\cdot$",
    "—": "---",
}


def tex(text: str) -> str:
    """Text for LaTeX, every special sign escaped."""
    return "".join(_TEX.get(sign, sign) for sign in text)


def latex(page: Page, base: Path) -> str:
    r"""A page as LaTeX tables; needs ``\usepackage{booktabs}``. Printed pages have no links to local files."""
    del base
    parts = ["% Generated; needs \\usepackage{booktabs}.", f"% {tex(page.title)}"]
    parts += [f"% {tex(line)}" for line in page.about]
    parts += [_tex_table(table) for table in page.tables]
    for head, lines in page.lists:
        parts.append(f"\\paragraph{{{tex(head)}}}\n\\begin{{itemize}}")
        parts += [f"\\item {tex(line)}" for line in lines]
        parts.append("\\end{itemize}")
    return "\n".join(parts) + "\n"


def _tex_table(table: Table) -> str:
    def marked(part: Cell | Column, text: str) -> str:
        marks = table.marks(part)
        written = f"\\textbf{{{tex(text)}}}" if isinstance(part, Cell) and part.strong else tex(text)
        return written + (f"\\textsuperscript{{{','.join(map(str, marks))}}}" if marks else "")

    # Links are what a printed page cannot carry.
    kept = [i for i in range(len(table.columns)) if not table.only_links(i)]
    shape = "".join("r" if table.columns[i].number else "l" for i in kept)
    heads = " & ".join(marked(table.columns[i], table.columns[i].head) for i in kept)
    rows = [" & ".join(marked(row[i], row[i].text) for i in kept) for row in table.rows]
    notes = [f"\\textsuperscript{{{n}}} {tex(note)}" for n, note in enumerate(table.footnotes, start=1)]
    below = [f"\\par\\footnotesize {note}" for note in [*notes, *map(tex, table.remarks)]]
    caption = " ".join([f"{tex(table.title)}.", *map(tex, table.about)])
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{shape}}}",
            "\\toprule",
            f"{heads} \\\\",
            "\\midrule",
            *(f"{row} \\\\" for row in rows),
            "\\bottomrule",
            "\\end{tabular}",
            *below,
            "\\end{table}",
        ]
    )
