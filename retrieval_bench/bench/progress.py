"""What a person sees of a running suite: one living line on a terminal, one plain line an event elsewhere."""

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from retrieval_bench.bench.process import last_lines

COLOURS = {"done": "green", "skipped": "dim", "busy": "yellow", "failed": "red"}


class Progress:
    """Tells the events of a suite.

    Args:
        console: Where to; on a terminal the current run's last log line is kept in sight.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = None
        self._began = 0.0
        self._head = ""
        self._log = Path()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(escape(text), soft_wrap=True, highlight=False)

    def started(self, number: int, total: int, name: str, *, resumed: bool, log: Path) -> None:
        """A run begins."""
        self._head, self._log, self._began = f"[{number}/{total}] {name}", log, time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(escape(self._head))
            self._status.start()
        else:
            self.say(f"{self._head}: {'resumed' if resumed else 'started'}, log in {log}")

    def look(self) -> None:
        """Refresh the living line from the log."""
        if self._status is None:
            return
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        tail = "".join(last_lines(self._log, 1))
        room = max(0, self.console.width - len(self._head) - 14)
        self._status.update(f"{escape(self._head)} {minutes}:{seconds:02d}  [dim]{escape(tail[:room])}[/]")

    def ended(self, number: int, total: int, name: str, ending: str, seconds: float, reason: str) -> None:
        """A run has ended, or was not started at all."""
        self.close()
        took = f" in {seconds:.0f} s" if seconds else ""
        line = f"[{number}/{total}] {name}: "
        self.console.print(
            f"{escape(line)}[{COLOURS[ending]}]{ending}[/]{took}: {escape(reason)}",
            soft_wrap=True,
            highlight=False,
        )

    def close(self) -> None:
        """Take the living line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None
