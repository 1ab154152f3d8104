"""A bar for work on many pictures, drawn from the first one on: nothing is shown where all was done before."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Counter:
    """How far the work is.

    Args:
        what: It, in a word.

    Attributes:
        shown: Whether there was anything to do.
    """

    def __init__(self, what: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(what)
        self.shown = False

    def show(self, done: int, total: int) -> None:
        """Draw how many are done, of how many."""
        self._bar.start()
        self.shown = True
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.shown:
            self._bar.stop()


@contextmanager
def counting(what: str) -> Iterator[Counter]:
    """A counter that is closed at the end, however that comes."""
    counter = Counter(what)
    try:
        yield counter
    finally:
        counter.close()
