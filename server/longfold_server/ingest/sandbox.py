"""Runs parsers in child processes with memory, CPU and wall-clock limits; a child that passes one is killed, never
waited for.

Keeps a warm child between jobs. Knows no format.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.html import Page
from longfold_server.ingest.text import Encoding

JOBS_PER_CHILD = 200
"""A child is replaced after so many jobs: memory that a C parser lost goes with it."""


class Sandbox:
    """A pool of parser processes, `size` at most; started at the first job, ended by `aclose`."""

    def __init__(
        self, size: int = 1, memory_bytes: int = 1 << 30, base_seconds: float = 30.0, seconds_per_megabyte: float = 1.0
    ) -> None:
        self._slots = asyncio.Semaphore(size)
        self._memory_bytes = memory_bytes
        self._base_seconds = base_seconds
        self._seconds_per_megabyte = seconds_per_megabyte
        self._idle: list[_Child] = []

    async def parse(self, media_type: str, source: Path, encoding: Encoding, target: Path) -> Page:
        """Parse `source` into the UTF-8 file `target`.

        CPU time: `base_seconds` plus `seconds_per_megabyte`; wall-clock: twice that. Raises `DocumentError`
        (`document_undecodable`).
        """
        megabytes = await asyncio.to_thread(os.path.getsize, source) / 1e6
        cpu = self._base_seconds + self._seconds_per_megabyte * megabytes
        job = {
            "media_type": media_type,
            "source": str(source),
            "target": str(target),
            "codec": encoding.name,
            "skip": encoding.skip,
            "cpu_seconds": cpu,
        }
        async with self._slots:
            child = self._idle.pop() if self._idle else await _Child.start(self._memory_bytes)
            reply: dict[str, str] | None = None
            try:
                async with asyncio.timeout(2 * cpu):
                    reply = await child.ask(job)
            except TimeoutError:
                raise _too_hard("time") from None
            finally:
                if reply is None or child.jobs >= JOBS_PER_CHILD:
                    await child.end()
                else:
                    self._idle.append(child)
        if reply is None:
            raise _too_hard("time or memory")
        if "error" in reply:
            raise (
                _too_hard("memory")
                if reply["error"] == "MemoryError"
                else DocumentError(
                    Code.DOCUMENT_UNDECODABLE, "it cannot be parsed; convert it to plain text and upload that"
                )
            )
        return Page(reply["title"], reply["heading"])

    async def aclose(self) -> None:
        """End the idle children."""
        while self._idle:
            await self._idle.pop().end()


class _Child:
    def __init__(self, process: Process) -> None:
        self._process = process
        self.jobs = 0

    @classmethod
    async def start(cls, memory_bytes: int) -> _Child:
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUTF8": "1",
            "LANG": "C.UTF-8",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "longfold_server.ingest.parser_process",
            str(memory_bytes),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        return cls(process)

    async def ask(self, job: dict[str, object]) -> dict[str, str] | None:
        """The reply; None when the child died."""
        self.jobs += 1
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            return None
        line = await self._process.stdout.readline()
        reply: dict[str, str] | None = json.loads(line) if line else None
        return reply

    async def end(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _too_hard(what: str) -> DocumentError:
    return DocumentError(
        Code.DOCUMENT_UNDECODABLE,
        f"turning it into text takes more {what} than one document may; convert it to plain text and upload that",
    )
