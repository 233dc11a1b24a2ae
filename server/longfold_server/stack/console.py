"""What `up` shows: one line per component with its state and seconds; live in a terminal, plain lines elsewhere.
Knows no process."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from longfold_server.stack.processes import State, Status

MOVING = frozenset({State.STARTING, State.RESTARTING, State.STOPPING})
"""States that last, and so are shown with a running clock."""
STYLES = {State.READY: "green", State.FAILED: "bold red", State.RESTARTING: "yellow", State.STOPPED: "dim"}
MARKS = {State.READY: "✓", State.FAILED: "✗", State.STOPPED: "■"}
PLAIN_EVERY = 10.0
"""Seconds between two lines about a component that is still starting, where lines cannot be overwritten."""


class Screen:
    """A context manager; inside it, call it with every `Status`. Between `settle()` and the next moving state it
    prints plain lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live: Live | None = None
        self._rows: dict[str, tuple[Status, float]] = {}
        self._told: dict[str, tuple[State, float]] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle()

    def __call__(self, status: Status) -> None:
        now = time.monotonic()
        self._rows[status.name] = (status, now)
        if self._live is not None:
            return
        state, told = self._told.get(status.name, (State.STOPPED, -PLAIN_EVERY))
        if state is not status.state or now - told >= PLAIN_EVERY:
            self._told[status.name] = (status.state, now)
            self.console.print(self._line(status, status.seconds), soft_wrap=True)

    def note(self, text: str) -> None:
        """A warning in words."""
        self.console.print(Text(f"note: {text}", style="yellow"), soft_wrap=True)

    def settle(self) -> None:
        """Leave the live display; what follows is printed line by line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._told = {name: (status.state, at) for name, (status, at) in self._rows.items()}

    def _table(self) -> RenderableType:
        now = time.monotonic()
        table = Table.grid(padding=(0, 1))
        for status, at in self._rows.values():
            moving = status.state in MOVING
            seconds = status.seconds + (now - at if moving else 0.0)
            mark: RenderableType = (
                Spinner("dots") if moving else Text(MARKS.get(status.state, " "), STYLES.get(status.state, ""))
            )
            table.add_row(mark, self._line(status, seconds, width=max(20, self.console.width - 4)))
        return Group(table)

    def _line(self, status: Status, seconds: float, width: int | None = None) -> Text:
        line = Text(f"{status.name:<8}")
        line.append(f"{status.state:<10}", STYLES.get(status.state, ""))
        line.append(f"{seconds:6.1f} s")
        if status.detail:
            line.append(f"  {status.detail}", "dim")
        if width is not None:
            line.truncate(width, overflow="ellipsis")
        return line
