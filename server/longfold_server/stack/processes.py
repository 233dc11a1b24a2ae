"""A supervised child process: started, awaited until healthy, restarted when it dies, ended with everything it
started. Knows no program.

Each child runs under `reaper.py`, so it ends with us even if we are killed by SIGKILL. Must be used from one event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from longfold_server.stack import reaper
from longfold_server.stack.errors import ChildFailed

LOG_LIMIT = 20 * 1024 * 1024
"""A larger log is moved to `NAME.log.1` at the next start, so that a stack left running for months cannot fill the
disk by its past."""


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment, not an addition to ours."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds."""

    start: float = 60.0
    """From spawn to healthy."""
    grace: float = 10.0
    """From SIGTERM to SIGKILL."""
    check_every: float = 2.0
    """Between two health checks of a ready child."""
    unhealthy: float = 30.0
    """A child that has failed every check for this long is restarted."""
    backoff_first: float = 0.2
    backoff_most: float = 15.0
    stable: float = 60.0
    """After this long in good health the next restart is immediate again."""
    attempts: int = 5
    """Failed starts in a row before the child is given up."""


@dataclass(frozen=True, slots=True)
class Status:
    """What to tell the person who watches."""

    name: str
    state: State
    seconds: float
    """Since the child was asked to start."""
    detail: str = ""


Health = Callable[[], Awaitable[bool]]
Report = Callable[[Status], None]


def tail(log: Path, start: int = 0, lines: int = 20, most_bytes: int = 16_384) -> str:
    """The last non-empty lines of a log, not looking before byte `start`."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def _read_and_close(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read(32)


class Child:
    """One program under supervision. `start()`, then `supervise()` as a task, then `stop()`; every method may be
    cancelled."""

    def __init__(
        self,
        name: str,
        command: Command,
        healthy: Health,
        log: Path,
        *,
        ready: Health | None = None,
        patience: Patience | None = None,
        report: Report | None = None,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        """`healthy` tells, without raising, whether the program serves; `ready`, if given, whether it has finished
        starting.

        `keep_open`: descriptors that must stay open until nothing of the child is left (a lock).
        """
        self.name = name
        self.log = log
        self.restarts = 0
        self.pid: int | None = None
        """Of the program itself (not of its reaper) while it runs."""
        self.state = State.STOPPED
        self._command = command
        self._healthy = healthy
        self._ready = ready or healthy
        self._patience = patience or Patience()
        self._report = report or (lambda status: None)
        self._keep_open = keep_open
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._since = time.monotonic()

    async def start(self) -> None:
        """Spawn and wait until healthy. Raises `ChildFailed`, with nothing left running, when that does not happen in
        time."""
        self._since = time.monotonic()
        self._tell(State.STARTING)
        try:
            await self._start_once()
        except ChildFailed as failure:
            self._tell(State.FAILED, failure.why)
            raise
        except asyncio.CancelledError:
            self._tell(State.STOPPED)
            raise

    async def supervise(self) -> None:
        """Watch a started child and restart it whenever it dies or stays unhealthy. Raises `ChildFailed` when it is
        given up."""
        patience = self._patience
        backoff = failed_starts = 0
        while True:
            healthy_since = time.monotonic()
            why = await self._until_broken()
            if time.monotonic() - healthy_since >= patience.stable:
                backoff = 0
            while True:
                self._since = time.monotonic()
                self._tell(State.RESTARTING, why)
                await self._end()
                await asyncio.sleep(min(patience.backoff_first * 2**backoff, patience.backoff_most))
                backoff = min(backoff + 1, 30)
                try:
                    await self._start_once(restart=True)
                except ChildFailed as failure:
                    failed_starts += 1
                    if failed_starts >= patience.attempts:
                        self._tell(State.FAILED, failure.why)
                        raise
                    why = failure.why
                else:
                    break
            failed_starts = 0

    async def stop(self) -> None:
        """End the child and all its descendants: SIGTERM, then SIGKILL after the grace. Safe to call twice."""
        if self._process is None:
            return
        self._since = time.monotonic()
        self._tell(State.STOPPING)
        await self._end()
        self._tell(State.STOPPED)

    def hurry(self) -> None:
        """End the grace of a `stop()` under way."""
        if self._process is not None:
            # The reaper takes a second SIGTERM as "no more grace".
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def tail(self, lines: int = 20) -> str:
        """The last lines this run of the child has logged."""
        return tail(self.log, self._log_start, lines)

    async def _start_once(self, *, restart: bool = False) -> None:
        started = False
        try:
            await self._spawn()
            await self._until_healthy()
            started = True
        finally:
            if not started:
                await asyncio.shield(self._end())
        self.restarts += restart
        self._tell(State.READY)

    async def _spawn(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_LIMIT:
                self.log.replace(self.log.with_name(self.log.name + ".1"))
        read_fd, write_fd = os.pipe()
        # The log may quote a user's paths; it is for the owner only, like everything in the data directory.
        log_fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._log_start = os.fstat(log_fd).st_size
            # -I -S: nothing of the environment or of site-packages can keep the reaper from starting.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", reaper.__file__),
                *(str(os.getpid()), str(self._patience.grace), str(write_fd)),
                *self._command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                env=dict(self._command.env),
                pass_fds=(write_fd, *self._keep_open),
                start_new_session=True,
            )
        finally:
            os.close(log_fd)
            os.close(write_fd)
            # The reaper's word comes within milliseconds, or the pipe's end when it could not start.
            line = await asyncio.to_thread(_read_and_close, read_fd)
        self.pid = int(line) if line.strip() else None

    async def _until_healthy(self) -> None:
        process = self._process
        assert process is not None
        ended = asyncio.ensure_future(process.wait())
        deadline = time.monotonic() + self._patience.start
        told = time.monotonic()
        try:
            while True:
                # A program that has died is never healthy, even if another one answers on its port.
                if ended.done():
                    raise ChildFailed(
                        self.name, f"ended with status {ended.result()} while starting", self.log, self.tail()
                    )
                if await self._check(self._ready, within=5.0):
                    return
                now = time.monotonic()
                if now > deadline:
                    raise ChildFailed(
                        self.name, f"was not ready after {self._patience.start:.0f} s", self.log, self.tail()
                    )
                if now - told >= 1.0:
                    told = now
                    self._tell(self.state, self.tail(1))
                await asyncio.wait([ended], timeout=0.05 if now - self._since < 2 else 0.25)
        finally:
            ended.cancel()

    async def _until_broken(self) -> str:
        """Why the running child must be replaced."""
        process = self._process
        assert process is not None
        ended = asyncio.ensure_future(process.wait())
        last_good = time.monotonic()
        try:
            while True:
                await asyncio.wait([ended], timeout=self._patience.check_every)
                if ended.done():
                    return f"ended with status {ended.result()}"
                if await self._check(self._healthy, within=max(5.0, self._patience.unhealthy / 2)):
                    last_good = time.monotonic()
                elif time.monotonic() - last_good > self._patience.unhealthy:
                    return f"did not answer for {self._patience.unhealthy:.0f} s"
        finally:
            ended.cancel()

    async def _check(self, health: Health, within: float) -> bool:
        # Not wait_for: in Python 3.11 it loses a cancellation that arrives as the check ends.
        try:
            async with asyncio.timeout(within):
                return await health()
        except TimeoutError:
            return False

    async def _end(self) -> None:
        process, pid = self._process, self.pid
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._patience.grace + 5.0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode is not None and process.returncode < 0 and pid is not None:
            # The reaper itself was killed, so nobody has looked after the rest of its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._process = self.pid = None

    def _tell(self, state: State, detail: str = "") -> None:
        self.state = state
        self._report(Status(self.name, state, time.monotonic() - self._since, detail))
