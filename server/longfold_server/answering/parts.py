"""What a job is answered with, and the run of one job that its stages share. Knows the order of nothing."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_client.types import DocumentInfo, EventType, Progress, TokenUsage
from longfold_server.answering.budgets import spent
from longfold_server.answering.state import Setup
from longfold_server.calls import EngineCalls, Pulse
from longfold_server.codes import Code
from longfold_server.ending import end
from longfold_server.errors import Interrupted, JobFailure, OutOfTime, StoreUnavailable
from longfold_server.ingest.documents import DocumentStore
from longfold_server.jobs.protocols import Store
from longfold_server.jobs.records import Claim, Lease
from longfold_server.metrics import Metrics
from longfold_server.telemetry import Spans
from longfold_server.tenants.meter import Meter
from longfold_server.tenants.tenancy import Tenancy

HOLD_SECONDS = 600.0
"""How often a job says that its documents are in use; a quarter of the retention where that is shorter."""

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
    store: Store
    metrics: Metrics
    threads: Executor
    """For cutting chunks, counting tokens and reading files: the event loop must stay free for heartbeats."""
    tenancy: Tenancy
    engine_patience_seconds: float = 600.0
    pulse: Pulse = field(default_factory=Pulse)
    speculation: int = 0
    """How many chunks behind the present one are read on the guess that it leaves the memory as it is."""
    spans: Spans = field(default_factory=Spans)


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
            parts.engine,
            parts.metrics,
            patience_seconds=parts.engine_patience_seconds,
            count=parts.tokens.count,
            job=claim.job,
            model=parts.model,
            spans=parts.spans,
            cache_salt=parts.tenancy.salts.of(claim.tenant),
            pulse=parts.pulse,
        )
        self._committing = asyncio.Lock()
        self._hold_at = -math.inf
        self.told = Progress.model_validate_json(claim.progress) if claim.progress else Progress()
        """What was committed last of how far the job is."""
        self.meter = Meter(parts.tenancy.usage, claim.tenant, self._tokens)
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

    def _tokens(self) -> int:
        """Of this worker's calls, whether their results were committed or not."""
        return spent(self.calls.usage)

    @property
    def tokens_left(self) -> float:
        """Of `limits.tokens`, after all calls so far; infinite without a limit."""
        limit = self.request.limits.tokens
        return math.inf if limit is None else limit - spent(self.usage)

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

    def overdue(self, during: str) -> JobFailure:
        """The failure of a job whose time was over before it had an answer."""
        return JobFailure(Code.DEADLINE_EXCEEDED, f"the limit of {self.request.limits.seconds:g} s ended {during}")

    def check_stopping(self) -> None:
        """Raises `Interrupted` between two steps of a worker that stops."""
        if self._stopping():
            raise Interrupted("the worker is stopping")

    async def commit(self, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        """Commits, one at a time, however long Redis is away; the event's number. Raises `LeaseLost`,
        `JobCancelled`."""
        async with self._committing:
            commit = self.parts.store.prepare(self.lease, kind, data, fields)
            pause = 0.05
            while True:
                try:
                    return await commit.send()
                except StoreUnavailable:
                    log.warning("commit_waits", extra={"job": self.claim.job})
                    await asyncio.sleep(pause)
                    pause = min(2.0, pause * 2)

    async def keep(self, kind: str, data: object) -> None:
        """Commits the setup with an event, like `commit`."""
        self.setup.usage, self.setup.engine_seconds = self.usage, self.engine_seconds
        await self.commit(kind, data, {"setup": self.setup.to_json()})

    async def resume(self) -> None:
        """Ends the wait for the engine in which the worker before has left the job."""
        if self.told.waiting:
            waited = round(max(0.0, self.elapsed - self.told.elapsed_seconds), 3)
            await self._show(EventType.WAITED, {"for": self.told.waiting, "seconds": waited}, "")

    async def watch(self, call: Coroutine[Any, Any, T], until: float | None = None) -> T:
        """What an engine call gives. A wait that lasts stands in the job's events and status, and so does its end;
        committed from here, since a call may be a guess that is dropped at any moment.

        Raises what the call raises, `LeaseLost`, `JobCancelled`, `Interrupted`, and `OutOfTime` at the loop time
        `until`; the call is then dropped.
        """
        task = asyncio.ensure_future(call)
        away = asyncio.ensure_future(self.calls.away.wait())
        try:
            while not (late := await _late({task, away}, until)) and not task.done() and not self.calls.away.is_set():
                away = asyncio.ensure_future(self.calls.away.wait())  # another call was the one that waited
            if not late and not task.done():
                self.check_stopping()
                began = asyncio.get_running_loop().time()
                await self._show(EventType.WAITING, {"for": "engine", "error": self.calls.why}, "engine")
                late = await _late({task}, until)
                waited = round(asyncio.get_running_loop().time() - began, 3)
                await self._show(EventType.WAITED, {"for": "engine", "seconds": waited}, "")
            if late:
                raise OutOfTime("the engine did not answer in time")
            return task.result()
        finally:
            await end(task, away)
            if not task.cancelled():
                task.exception()  # nobody may be left to take it

    async def _show(self, kind: EventType, data: dict[str, object], waiting: str) -> None:
        update = {"waiting": waiting, "elapsed_seconds": round(self.elapsed, 3)}
        told = self.told = self.told.model_copy(update=update)
        await self.commit(kind, data, {"progress": told.model_dump_json()})

    async def own(self, document: DocumentInfo) -> None:
        """Lets the job's tenant name a fetched document by its id. While Redis is away it stays without: the job has
        its document, and the tenant has its URL."""
        try:
            await self.parts.tenancy.owners.add(self.claim.tenant, document)
        except StoreUnavailable:
            log.warning("owner_not_kept", extra={"job": self.claim.job})

    async def facts(self, document_id: str) -> DocumentInfo | None:
        """What the job's tenant brought under this id: its URL and type belong to that file, not to its text. None
        where nobody has noted it, or while Redis is away."""
        try:
            return await self.parts.tenancy.owners.facts(self.claim.tenant, document_id)
        except StoreUnavailable:
            return None

    async def hold(self) -> None:
        """Says now and then that the job's documents must stay; while Redis is away, the next time."""
        owners, now = self.parts.tenancy.owners, asyncio.get_running_loop().time()
        if now < self._hold_at:
            return
        self._hold_at = now + min(HOLD_SECONDS, owners.retention_seconds / 4)
        try:
            for document in self.setup.documents or []:
                if isinstance(document, DocumentInfo):
                    await owners.use(document.document_id)
        except StoreUnavailable:
            self._hold_at = now

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Runs blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, work)


async def _late(tasks: set[asyncio.Future[Any]], until: float | None) -> bool:
    """Whether none of the tasks had ended at the loop time `until`."""
    seconds = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return not done
