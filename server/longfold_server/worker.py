"""The worker of a process: claims jobs, keeps their leases, and ends each as its work ended. Knows no prompts and no
documents."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum

from longfold_client.types import JobStatus, Problem
from longfold_server.answering.answer import answer
from longfold_server.answering.parts import Parts, Run
from longfold_server.codes import Code
from longfold_server.drain import Drain
from longfold_server.ending import end
from longfold_server.errors import (
    DocumentsUnavailable,
    Interrupted,
    JobCancelled,
    LeaseLost,
    ServerError,
    StoreUnavailable,
)
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.records import Claim, Ended, Lease
from longfold_server.problems import problem_of

IDLE_SECONDS = 0.5
"""Between looks when nothing is announced: an announcement can be lost."""
DEAF_SECONDS = 0.1
"""The same while announcements cannot be heard."""
SOONEST_SECONDS = 0.002
"""Between two looks at most, however soon a lease ends: the store counts milliseconds."""
AWAY_SECONDS = 0.5
"""Between attempts while Redis is away."""
FAILURE_PAUSE_SECONDS = 1.0
"""Before a job that failed unexpectedly is tried again; a constant, since there are few attempts."""
AWAY = (StoreUnavailable, DocumentsUnavailable)
"""What is no fault of a job, and may be over when it is tried again."""
CLOSING_SECONDS = 5.0
"""How long a worker that stops tries to tell a Redis that is away."""

log = logging.getLogger(__name__)


class End(StrEnum):
    """Why a job's work is being dropped."""

    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPING = "stopping"


class _Held:
    """A job this worker holds."""

    def __init__(self, claim: Claim) -> None:
        self.lease = Lease(claim)
        self.dropped = asyncio.Event()
        self.why: End | None = None
        self.run: Run | None = None

    def drop(self, why: End) -> None:
        """The first reason counts."""
        if self.why is None:
            self.why = why
            self.dropped.set()

    async def count(self) -> None:
        """Adds the tokens used since the last time to the tenant's day, and keeps the documents in use."""
        if self.run is not None:
            await self.run.meter.tell()
            await self.run.hold()


class Worker:
    """Up to `concurrency` jobs at once."""

    def __init__(
        self,
        parts: Parts,
        bell: Bell,
        drain: Drain,
        *,
        concurrency: int,
        drain_seconds: float = 5.0,
        name: str | None = None,
    ) -> None:
        self._parts = parts
        self._store = parts.store
        self._bell = bell
        self._drain = drain
        self._concurrency = concurrency
        self._drain_seconds = drain_seconds
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._held: dict[str, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Works until the drain begins, then gives its jobs back and returns. Cancelling it drops everything at once:
        the leases end."""
        stopping = asyncio.create_task(self._drain.wait())
        stopping.add_done_callback(lambda task: self._wake.set())
        async with self._bell.listen(self._store.keys.signals, self._on_signal):
            try:
                while not self._drain.begun:
                    self._wake.clear()
                    await self._claim_or_wait()
                await self._close()
            finally:
                await end(stopping, *self._tasks)

    async def _claim_or_wait(self) -> None:
        """Takes one more job; without one (or a free place, or Redis) waits for a signal, but not for long: just until
        the next lease ends, which nobody announces."""
        pause = IDLE_SECONDS if self._bell.heard else DEAF_SECONDS
        try:
            if len(self._tasks) < self._concurrency:
                found = await self._store.claim(self.name)
                if isinstance(found, Claim):
                    return self._begin(found)
                if isinstance(found, Ended):
                    return self._count_ended(found)
                pause = max(SOONEST_SECONDS, min(pause, found.seconds))
        except StoreUnavailable:
            pause = AWAY_SECONDS
        except Exception:  # a record that this version cannot read, say: its lease ends, and there are other jobs
            log.exception("claim_broke")
            pause = AWAY_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    def _on_signal(self, message: str) -> None:
        verb, _, job = message.partition(" ")
        if verb == "cancel" and job in self._held:
            self._held[job].drop(End.CANCELLED)
        else:
            self._wake.set()

    def _begin(self, claim: Claim) -> None:
        if claim.takeover:
            self._parts.metrics.takeovers.inc()
        log.info("job_claimed", extra={"job": claim.job, "gen": claim.gen, "takeover": claim.takeover})
        held = self._held[claim.job] = _Held(claim)
        task = asyncio.create_task(self._work(claim, held))
        self._tasks.add(task)
        self._parts.metrics.running.set(len(self._tasks))
        task.add_done_callback(lambda done: self._ended(claim.job, held, done))

    def _ended(self, job: str, held: _Held, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._parts.metrics.running.set(len(self._tasks))
        # A job that was lost may already have been claimed again by this very worker.
        if self._held.get(job) is held:
            del self._held[job]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job_task_broke", extra={"job": job}, exc_info=error)

    async def _close(self) -> None:
        """Two stages: calls in flight may finish and commit, then they are dropped; every job goes back."""
        if self._tasks and self._drain_seconds:
            await asyncio.wait(self._tasks, timeout=self._drain_seconds)
        for held in self._held.values():
            held.drop(End.STOPPING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_SECONDS)

    async def _work(self, claim: Claim, held: _Held) -> None:
        """One job from claim to end. The work runs in a task of its own, so that dropping it closes its engine call at
        once."""
        lease = held.lease
        work = asyncio.create_task(self._answer(claim, held))
        beat = asyncio.create_task(self._beat(held))
        dropped = asyncio.create_task(held.dropped.wait())
        try:
            await asyncio.wait({work, dropped}, return_when=asyncio.FIRST_COMPLETED)
            await end(work)
            error = None if work.cancelled() else work.exception()
            why = held.why if work.cancelled() or error is not None else None
            await self._end(lease, why, error)
            await held.count()
        finally:
            await end(work, beat, dropped)

    async def _answer(self, claim: Claim, held: _Held) -> None:
        held.run = Run(self._parts, claim, held.lease, lambda: self._drain.begun)
        await answer(held.run)

    async def _beat(self, held: _Held) -> None:
        """Keeps the lease. While Redis is away it just tries again: the fence decides afterwards."""
        while True:
            await asyncio.sleep(self._store.lease_seconds / 3)
            try:
                await self._store.beat(held.lease)
                await held.count()
            except LeaseLost:
                return held.drop(End.LOST)
            except JobCancelled:
                return held.drop(End.CANCELLED)
            except StoreUnavailable:
                log.warning("beat_failed", extra={"job": held.lease.job})

    async def _end(self, lease: Lease, why: End | None, error: BaseException | None) -> None:
        job, metrics = lease.job, self._parts.metrics
        if why is None and error is None:
            metrics.finished.labels(status=JobStatus.COMPLETED.value).inc()
            log.info("job_completed", extra={"job": job, "gen": lease.gen})
        elif why is End.LOST or isinstance(error, LeaseLost):
            metrics.fenced.inc()
            log.warning("job_lost", extra={"job": job, "gen": lease.gen})
        elif why is End.CANCELLED or isinstance(error, JobCancelled):
            await self._cancel(lease)
        elif why is End.STOPPING or isinstance(error, Interrupted):
            await self._tell(lambda: self._store.release(lease))
            metrics.releases.labels(reason="stopping").inc()
            log.info("job_released", extra={"job": job, "gen": lease.gen})
        elif error is not None and not isinstance(error, AWAY) and (known := problem_of(error)) is not None:
            await self._fail(lease, known)
        else:
            kind = type(error).__name__
            # What we say ourselves helps whoever asked; other errors' texts may hold anything.
            told = f"{kind}: {error}" if isinstance(error, ServerError) else kind
            log.error("job_broke", extra={"job": job}, exc_info=error)
            metrics.releases.labels(reason="failure").inc()
            await self._tell(lambda: self._give_back(lease, told))

    async def _give_back(self, lease: Lease, failure: str) -> None:
        left = await self._store.release(lease, failure=failure, pause_seconds=FAILURE_PAUSE_SECONDS)
        if left in (JobStatus.FAILED, JobStatus.CANCELLED):
            self._count_ended(Ended(lease.job, JobStatus(left)))

    def _count_ended(self, ended: Ended) -> None:
        """Of a job that the store has ended, rather than its work."""
        self._parts.metrics.finished.labels(status=ended.status.value).inc()
        if ended.status is JobStatus.FAILED:
            self._parts.metrics.failures.labels(code=Code.JOB_POISONED).inc()
            log.error("job_poisoned", extra={"job": ended.job})
        else:
            log.info("job_cancelled", extra={"job": ended.job})

    async def _cancel(self, lease: Lease) -> None:
        if await self._tell(lambda: self._store.finish(lease, JobStatus.CANCELLED, fenced=False)):
            self._parts.metrics.finished.labels(status=JobStatus.CANCELLED.value).inc()
            log.info("job_cancelled", extra={"job": lease.job})

    async def _fail(self, lease: Lease, known: Problem) -> None:
        told = known.model_dump_json()
        try:
            ended = await self._tell(lambda: self._store.finish(lease, JobStatus.FAILED, "error", told, fenced=False))
        except JobCancelled:
            return await self._cancel(lease)
        if ended:
            self._parts.metrics.finished.labels(status=JobStatus.FAILED.value).inc()
            self._parts.metrics.failures.labels(code=known.code).inc()
            log.info("job_failed", extra={"job": lease.job, "code": known.code})

    async def _tell(self, send: Callable[[], Awaitable[object]]) -> bool:
        """Says how a job ended, however long Redis is away; a worker that stops gives up soon, the lease then ends by
        itself.

        False when the job is not ours any more. Raises `JobCancelled` where `send` does.
        """
        began = asyncio.get_running_loop().time()
        while True:
            try:
                await send()
                return True
            except LeaseLost:
                self._parts.metrics.fenced.inc()
                return False
            except StoreUnavailable:
                if self._drain.begun and asyncio.get_running_loop().time() - began > CLOSING_SECONDS / 2:
                    return False
                await asyncio.sleep(AWAY_SECONDS)
