"""The formats a page of tables can be written in."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from retrieval_bench.bench.latex import latex
from retrieval_bench.bench.markdown import markdown
from retrieval_bench.bench.tables import Page
from retrieval_bench.bench.webpage import webpage


def comma_separated(page: Page, base: Path) -> str:
    """The numbers of a page as CSV, one a line, to ten digits; an empty field is a missing number."""
    del base
    stream = io.StringIO()
    fields = page.fields or tuple(page.records[0] if page.records else ())
    if fields:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        for record in page.records:
            writer.writerow({k: f"{v:.10g}" if isinstance(v, float) else v for k, v in record.items()})
    return stream.getvalue()


FORMATS: dict[str, Callable[[Page, Path], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "tex": latex,
    "html": webpage,
}
"""By name, what turns a page into a file's content; the second argument is the folder the file will lie in."""
