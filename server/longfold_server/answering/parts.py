"""What a job is answered with, and the run of one job that its stages share. Knows the order of nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_client.types import TokenUsage
from longfold_server.answering.state import Setup
from longfold_server.calls import EngineCalls
from longfold_server.errors import Interrupted, StoreUnavailable
from longfold_server.ingest.documents import DocumentStore
from longfold_server.jobs.records import Claim
from longfold_server.jobs.store import JobStore, Lease
from longfold_server.metrics import Metrics

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by all jobs of a worker."""

    engine: Engine
    model: str
    """The model's name for people."""
    profile: Profile
    tokens: Tokens
    documents: DocumentStore
    store: JobStore
    metrics: Metrics
    threads: Executor
    """For cutting chunks, counting tokens and reading files: the event loop must stay free for heartbeats."""
    engine_patience_seconds: float = 600.0


class Run:
    """One worker's work on one job: its lease, its clock, its engine calls, and commits that outlast a lost Redis."""

    def __init__(self, parts: Parts, claim: Claim, lease: Lease, stopping: Callable[[], bool]) -> None:
        self.parts = parts
        self.claim = claim
        self.request = claim.request
        self.lease = lease
        self._stopping = stopping
        self.setup = Setup.from_json(claim.setup)
        self.calls = EngineCalls(
            parts.engine, parts.metrics, patience_seconds=parts.engine_patience_seconds, job=claim.job
        )
        self.usage_before = self.setup.usage
        self.engine_seconds_before = self.setup.engine_seconds
        self._began = asyncio.get_running_loop().time()

    @property
    def usage(self) -> TokenUsage:
        """Of all calls whose result was committed, and of this worker's calls."""
        before, now = self.usage_before, self.calls.usage
        return TokenUsage(
            prompt_tokens=before.prompt_tokens + now.prompt_tokens,
            completion_tokens=before.completion_tokens + now.completion_tokens,
            cached_tokens=before.cached_tokens + now.cached_tokens,
            calls=before.calls + now.calls,
        )

    @property
    def engine_seconds(self) -> float:
        """Like `usage`, in seconds."""
        return self.engine_seconds_before + self.calls.seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the job's first claim."""
        return self.claim.age_seconds + asyncio.get_running_loop().time() - self._began

    @property
    def deadline(self) -> float | None:
        """When `limits.seconds` is over, in the event loop's time."""
        limit = self.request.limits.seconds
        return None if limit is None else self._began - self.claim.age_seconds + limit

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline

    def check_stopping(self) -> None:
        """Raises `Interrupted` between two steps of a worker that stops."""
        if self._stopping():
            raise Interrupted("the worker is stopping")

    async def commit(self, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        """Commits, however long Redis is away; the event's number. Raises `LeaseLost`, `JobCancelled`."""
        commit = self.parts.store.prepare(self.lease, kind, data, fields)
        pause = 0.05
        while True:
            try:
                return await commit.send()
            except StoreUnavailable:
                log.warning("commit_waits", extra={"job": self.claim.job})
                await asyncio.sleep(pause)
                pause = min(2.0, pause * 2)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Runs blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, work)
