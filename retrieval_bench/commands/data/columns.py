"""The plain tables of the ``data`` commands."""

ROLES = ("train", "query", "gallery")


def align(table: list[tuple[str, ...]]) -> str:
    """Lines of cells, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)
