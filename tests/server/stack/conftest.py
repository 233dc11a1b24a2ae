"""Real small processes for the supervision tests, found again by a mark in their environment."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MARK = "LONGFOLD_TEST_MARK"


class Marked:
    """Processes that carry this test's mark, wherever they were moved."""

    def __init__(self) -> None:
        self.value = uuid.uuid4().hex

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, MARK: self.value}

    def pids(self) -> set[int]:
        wanted = f"{MARK}={self.value}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if state != b"Z" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
            except (OSError, IndexError):
                continue
        return found


@pytest.fixture
def marked() -> Iterator[Marked]:
    """The mark; whatever a failed test leaves behind is ended."""
    mark = Marked()
    yield mark
    for pid in mark.pids():
        os.kill(pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether the condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
