"""What a reading job looks like while it runs: a live panel on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from pydantic import ValidationError

from ..types import Event, EventType, Job, Progress
from .text import clean, count, duration, one_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.spinner import Spinner

QUIET_SECONDS = 10.0
"""A log gets a line at least this often while chunks arrive,"""
QUIET_FRACTION = 0.1
"""or each time this share of the text was read."""
TAIL = 600
"""Characters of the growing answer that the live panel shows."""


@dataclass
class Reading:
    """The state behind every view, fed by events and, where those do not get through, by polled jobs."""

    job_id: str = ""
    phase: str = "sending"
    progress: Progress = field(default_factory=Progress)
    documents: int = 0
    """How many have come."""
    memory_lines: int = 0
    change: str = ""
    """What the last change of the memory added, else removed."""
    answer: str = ""

    def take_job(self, job: Job) -> None:
        """The job as it was accepted or polled."""
        self.job_id = job.id
        if job.progress.chunks_read >= self.progress.chunks_read:
            self.progress = job.progress
        if self.phase in ("sending", "queued") or job.finished:
            self.phase = job.status.value.replace("_", " ")

    def take_event(self, event: Event) -> None:
        """One event; fields that are missing or odd leave the picture as it was."""
        data = event.data
        with suppress(KeyError, ValidationError):
            self.progress = Progress.model_validate(data["progress"])
        if event.type is EventType.CREATED:
            self.phase = "queued"
        elif event.type is EventType.INGESTED:
            self._take_documents(data)
        elif event.type is EventType.DECOMPOSED:
            self.phase = "question understood"
        elif event.type is EventType.ROUTED:
            self.phase = f"{one_line(str(data.get('mode', '')), 20)}: {one_line(str(data.get('reason', '')), 200)}"
        elif event.type is EventType.STEP:
            self.phase = "reading"
            self._remember(data)
        elif event.type is EventType.DELTA:
            self.phase = "answering"
            self._write(data)
        elif event.type is EventType.WAITING:
            self.phase = f"waiting for the {one_line(str(data.get('for', 'service')), 20)}"
        elif event.type is EventType.WAITED:
            self.phase = "going on"
        else:
            self.phase = event.type.value

    def _take_documents(self, data: dict[str, object]) -> None:
        """Documents that have come; while chunks are being read, others still do."""
        documents, missing = data.get("documents"), data.get("missing")
        self.documents += len(documents) if isinstance(documents, list) else 0
        if self.phase != "reading":
            more = f", {missing} more to come" if isinstance(missing, int) and missing > 0 else ""
            self.phase = f"{count(self.documents, 'document')} read in{more}"

    def _write(self, data: dict[str, object]) -> None:
        """A piece of the answer; `offset` is smaller than what is there when another worker writes it anew."""
        offset = data.get("offset")
        kept = self.answer[:offset] if isinstance(offset, int) and offset >= 0 else self.answer
        self.answer = kept + str(data.get("text", ""))

    def _remember(self, data: dict[str, object]) -> None:
        memory, diff = data.get("memory"), data.get("diff")
        if isinstance(memory, str) and (memory or data.get("update") == "rewrite"):
            self.memory_lines = sum(1 for line in memory.splitlines() if line.strip())
        if not isinstance(diff, dict):
            return
        for sign, key in (("+", "added"), ("-", "removed")):
            lines = diff.get(key)
            if isinstance(lines, list) and lines:
                more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
                self.change = f"{sign} {one_line(str(lines[-1]), 200)}{more}"
                return

    def counts(self) -> str:
        """Chunks, tokens, speed and remaining time, as far as known."""
        now = self.progress
        total = f"/{now.chunks_total:,}" if now.chunks_total is not None else ""
        parts = [f"{now.chunks_read:,}{total} chunks", f"{now.tokens_read:,} tokens"]
        if now.elapsed_seconds > 0 and now.tokens_read:
            parts.append(f"{now.tokens_read / now.elapsed_seconds:,.0f} tokens/s")
        if now.eta_seconds is not None:
            parts.append(f"about {duration(now.eta_seconds)} left")
        return ", ".join(parts)


class View(Protocol):
    """Something that shows a Reading."""

    def refresh(self) -> None:
        """The reading has changed."""


class Silent:
    """Shows nothing."""

    def refresh(self) -> None:
        """Nothing to do."""


class Lines:
    """A line for every phase, and now and then one while reading: for logs, pipes and terminals without rich."""

    def __init__(self, reading: Reading, out: TextIO) -> None:
        self._reading = reading
        self._out = out
        self._phase = ""
        self._said_at = time.monotonic()
        self._said_fraction = 0.0

    def refresh(self) -> None:
        """Prints what is new enough."""
        reading, now = self._reading, time.monotonic()
        fraction = reading.progress.read_fraction
        if reading.phase == "reading":
            due = fraction >= self._said_fraction + QUIET_FRACTION or now >= self._said_at + QUIET_SECONDS
            if self._phase != "reading" or due or (fraction >= 1.0 > self._said_fraction):
                memory = f"memory {count(reading.memory_lines, 'line')}"
                self._say(f"reading: {fraction:.0%}, {reading.counts()}, {memory}", now)
                self._said_fraction = fraction
        elif reading.phase != self._phase:
            where = f" (job {reading.job_id})" if self._phase == "" and reading.job_id else ""
            self._say(f"{reading.phase}{where}", now)
        self._phase = reading.phase

    def _say(self, line: str, now: float) -> None:
        self._out.write(f"{clean(line)}\n")
        self._out.flush()
        self._said_at = now


class Panel:
    """The live view; rich draws it anew several times a second from the reading as it is then."""

    def __init__(self, reading: Reading) -> None:
        from rich.spinner import Spinner

        self._reading = reading
        self._spinner: Spinner = Spinner("dots")

    def refresh(self) -> None:
        """rich asks for the picture by itself."""

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        reading = self._reading
        head = Table.grid(padding=(0, 1))
        head.add_row(
            self._spinner,
            ProgressBar(total=1.0, completed=min(1.0, reading.progress.read_fraction), width=24),
            Text(f"{reading.progress.read_fraction:4.0%}"),
            Text(reading.counts(), style="bold"),
        )
        rows: list[Table | Text] = [
            head,
            Text(f"  {clean(reading.phase)}   job {clean(reading.job_id) or '...'}", style="dim"),
        ]
        if reading.progress.plan:
            rows.append(Text(f"  plan    {one_line(reading.progress.plan, 200)}", no_wrap=True, overflow="ellipsis"))
        if reading.memory_lines or reading.change:
            changed = f"  {reading.change}" if reading.change else ""
            rows.append(
                Text(f"  memory  {count(reading.memory_lines, 'line')}{changed}", no_wrap=True, overflow="ellipsis")
            )
        if reading.answer:
            rows.append(Text(f"  {clean(reading.answer)[-TAIL:]}", style="green"))
        return Group(*rows)


@contextmanager
def progress_view(reading: Reading, out: TextIO, quiet: bool = False) -> Iterator[View]:
    """The fitting view for `out`; a live panel is gone from the screen when the block ends, however it ends."""
    if quiet:
        yield Silent()
        return
    try:
        if not out.isatty():
            raise ImportError
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        yield Lines(reading, out)
        return
    panel = Panel(reading)
    with Live(panel, console=Console(file=out), transient=True, refresh_per_second=8):
        yield panel
