"""Why the embedded stack cannot run. Each message is one sentence (or a few lines with a log's tail) for the person
who started it.

StackError
├── NotInstalled       a program is missing; the message holds the pip command
├── BadConfiguration   options or a Redis setting that cannot work
├── AlreadyRunning     another stack owns the data directory, or something owns the port
└── ChildFailed        a component did not become healthy, or keeps dying; holds the tail of its log
"""

from __future__ import annotations

from pathlib import Path

from longfold_server.errors import ServerError

LINE_END = 250
"""Characters kept of each end of a long log line."""


class StackError(ServerError):
    """Root of what the embedded stack raises on purpose."""


class NotInstalled(StackError):
    """A program the stack needs is not on this machine."""


class BadConfiguration(StackError, ValueError):
    """Options that contradict each other or the machine, or an unsafe Redis configuration."""


class AlreadyRunning(StackError):
    """The data directory or the port belongs to something that runs."""


class ChildFailed(StackError):
    """A component did not become healthy or does not stay up."""

    def __init__(self, name: str, why: str, log: Path, tail: str) -> None:
        lines = [f"{name} {why}; its log is {log}"]
        if tail:
            lines += ["last lines of the log:", *(f"  {_shortened(line)}" for line in tail.splitlines())]
        super().__init__("\n".join(lines))
        self.name = name
        self.why = why
        self.log = log
        self.tail = tail


def _shortened(line: str) -> str:
    """A log line for a terminal: a traceback in one line says the most at both ends."""
    return line if len(line) <= 2 * LINE_END else f"{line[:LINE_END]} ... {line[-LINE_END:]}"
