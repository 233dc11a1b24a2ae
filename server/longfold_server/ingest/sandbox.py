"""Runs parsers in child processes with memory, CPU and wall-clock limits and without network; a child that passes a
limit is killed, never waited for.

Keeps a warm child between jobs. Knows no format.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from longfold_server.codes import Code
from longfold_server.errors import ConfigError, DocumentError
from longfold_server.ingest.formats.source import Labels
from longfold_server.ingest.text import Encoding
from longfold_server.ingest.titles import tidy
from longfold_server.turns import Turns

START_SECONDS = 60.0
"""For a child to be ready: importing Python's libraries on a machine that has much else to do."""
_TOLD = frozenset(code for code in Code if code.startswith("document_"))
"""What a child may say of its document: one that was taken over says nothing of the service."""
JOBS_PER_CHILD = 200
"""A child is replaced after so many jobs: memory that a C parser lost goes with it."""


class Sandbox:
    """A pool of parser processes, `size` at most; started at the first job, ended by `aclose`."""

    def __init__(
        self,
        size: int = 1,
        memory_bytes: int = 1 << 30,
        file_bytes: int = 2_000_000_000,
        base_seconds: float = 60.0,
        seconds_per_megabyte: float = 1.0,
    ) -> None:
        """`memory_bytes` is address space; `file_bytes` is the longest file that a parser may write."""
        self._turns = Turns(size)
        self._limits = (memory_bytes, file_bytes)
        self._base_seconds = base_seconds
        self._seconds_per_megabyte = seconds_per_megabyte
        self._idle: list[_Child] = []

    async def parse(
        self,
        media_type: str,
        source: Path,
        encoding: Encoding,
        target: Path,
        index: Path,
        name: str = "",
        *,
        scope: str = "",
    ) -> Labels:
        """Parse `source` into the text `target` and its `index`, two UTF-8 files; every `scope` has its turn.

        CPU time: `base_seconds` plus `seconds_per_megabyte`; wall-clock: twice that. Raises `DocumentError` (what the
        parser raises, or `document_undecodable`), `OSError` for a full disk and `ConfigError` where a parser cannot be
        shut off from the network.
        """
        megabytes = await asyncio.to_thread(os.path.getsize, source) / 1e6
        cpu = self._base_seconds + self._seconds_per_megabyte * megabytes
        scratch = await asyncio.to_thread(tempfile.mkdtemp, dir=target.parent)
        job = {
            "media_type": media_type,
            "source": str(source),
            "target": str(target),
            "index": str(index),
            "scratch": scratch,
            "name": name,
            "codec": encoding.name,
            "skip": encoding.skip,
            "cpu_seconds": cpu,
        }
        try:
            reply = await self._ask(job, cpu, scope)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        match reply:
            case {"title": str(title), "heading": str(heading)}:
                return Labels(title, heading)
            case {"full": True}:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case {"error": "MemoryError"}:
                raise _too_hard("memory")
            case {"error": str(code), "detail": str(detail)} if code in _TOLD:
                raise DocumentError(code, tidy(detail))
        raise DocumentError(Code.DOCUMENT_UNDECODABLE, "it cannot be parsed; convert it to plain text and upload that")

    async def _ask(self, job: dict[str, object], cpu_seconds: float, scope: str) -> object:
        async with self._turns.turn(scope):
            child = await self._child()
            reply: object = None
            try:
                async with asyncio.timeout(2 * cpu_seconds):
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
        return reply

    async def _child(self) -> _Child:
        """An idle one, unless something else has ended it, or a new one."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.end()
        return await _Child.start(*self._limits)

    async def aclose(self) -> None:
        """End the idle children."""
        while self._idle:
            await self._idle.pop().end()


class _Child:
    def __init__(self, process: Process) -> None:
        self._process = process
        self.jobs = 0

    @classmethod
    async def start(cls, memory_bytes: int, file_bytes: int) -> _Child:
        """Raises `ConfigError`."""
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
            str(file_bytes),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's business
        )
        child = cls(process)
        why: object = "it did not start"
        try:
            async with asyncio.timeout(START_SECONDS):
                match await child._reply():
                    case {"ready": True}:
                        return child
                    case {"unconfined": why}:
                        pass
        except TimeoutError:
            pass
        except BaseException:
            await child.end()
            raise
        await child.end()
        raise ConfigError(f"the parser process cannot be used ({why}); it needs Linux with seccomp filters")

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, job: dict[str, object]) -> object:
        """The reply; None when the child died."""
        self.jobs += 1
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            return None
        return await self._reply()

    async def _reply(self) -> object:
        """None for the end and for what is no reply: a child that was taken over may say anything."""
        assert self._process.stdout is not None
        try:
            return json.loads(await self._process.stdout.readline())
        except (ValueError, RecursionError):
            return None

    async def end(self) -> None:
        if self.alive:
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
