"""One stack per data directory: a lock that lives as long as any process of the stack, and `stack.json`. Knows no
components."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longfold_server.stack.errors import AlreadyRunning, BadConfiguration

RELEASE_SECONDS = 15.0
"""After a supervisor is killed its reapers may take their whole grace; until then its Redis still writes to the data
directory."""


class StackLock:
    """An exclusive lock on a data directory. Children that inherit `fd` prolong it, so it outlives a killed
    supervisor as they do."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "stack.lock"
        self.record = data_dir / "stack.json"
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BadConfiguration(f"the data directory {data_dir} cannot be used: {error.strerror}") from None

    async def acquire(self) -> None:
        """Take the lock, waiting a little for a stack that is just ending. Raises `AlreadyRunning`."""
        deadline = time.monotonic() + RELEASE_SECONDS
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                found = read(self.record)
                if time.monotonic() > deadline or alive(found.get("pid")):
                    raise AlreadyRunning(self._refusal(found)) from None
                await asyncio.sleep(0.1)

    def release(self) -> None:
        """Remove the record and give the lock back."""
        with contextlib.suppress(OSError):
            self.record.unlink(missing_ok=True)
        os.close(self.fd)

    def write(self, values: Mapping[str, Any]) -> None:
        """Replace `stack.json` in one piece."""
        draft = self.record.with_suffix(".json.new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2)
            file.write("\n")
        draft.replace(self.record)

    def _refusal(self, found: Mapping[str, Any]) -> str:
        pid, url = found.get("pid"), found.get("url")
        if not alive(pid):
            return f"another stack is using {self.path.parent}; end it or choose another --data-dir"
        where = f" at {url}" if url else ""
        return (
            f"a stack already runs on {self.path.parent}{where} (pid {pid}): "
            f"end it with `kill {pid}` or choose another --data-dir"
        )


def read(record: Path) -> dict[str, Any]:
    """The content of a `stack.json`; empty when there is none or it cannot be read."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def alive(pid: object) -> bool:
    """Whether a process of this id exists."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
