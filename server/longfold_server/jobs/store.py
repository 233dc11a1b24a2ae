"""The job store in Redis: one method per transition.

A transition is a script on the job's own hash slot, which decides, and one on the queue's slot, which follows. The
queue is only a hint: a process that dies between the two, or a Redis that goes away between them, costs a delay.

- Before a job is made, its place is reserved: if nobody follows up, a worker looks there when the reservation ends.
- A place that is taken is leased, and so is the job, by its hash. If the queue's lease ends early, the hash refuses.
- Whatever is left at a place, of a job that has ended or stands elsewhere, goes when the place is next looked at.

Knows what a job's record looks like, not what a worker does with it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable
from typing import Any

from longfold_client.types import TERMINAL, Job, JobStatus, Problem
from longfold_server.codes import Code, status_of, title_of
from longfold_server.errors import (
    IdempotencyMismatch,
    JobCancelled,
    JobNotFound,
    LeaseLost,
    StoreUnavailable,
    TooManyJobs,
)
from longfold_server.jobs.keys import Keys
from longfold_server.jobs.lua import Scripts
from longfold_server.jobs.queue import HIGHEST_PRIORITY, USABLE_MS, Queue, Reservation, job_at
from longfold_server.jobs.records import (
    JOB_ID,
    Claim,
    Ended,
    Idle,
    Lease,
    QueueStats,
    RawEvent,
    StoredRequest,
    compact,
    job_from_hash,
)

SHOWN = ("status", "question", "created", "started", "finished", "progress", "result", "error")
"""Fields of the hash that make the wire's Job; the reading's state stays with the workers."""
RESERVATIONS = 3
"""Tries to make a job: each may come too late when Redis is slow."""
MOST_LOOKS = 100
"""Places looked at by one claim; leftovers of ended jobs are rare."""

log = logging.getLogger(__name__)


def poisoned(detail: str) -> str:
    """The error of a job that failed, or killed its workers, too often."""
    return Problem(
        title=title_of(Code.JOB_POISONED), status=status_of(Code.JOB_POISONED), detail=detail, code=Code.JOB_POISONED
    ).model_dump_json()


def stalled_error(most: int) -> str:
    """The error of a job whose workers are lost again and again."""
    return poisoned(f"the job's workers were lost {most} times in a row without one step")


def failure_error(most: int, last: str) -> str:
    """The error of a job that failed again and again."""
    return poisoned(f"the job failed {most} times; last: {last}")


def check_place(tenant: str, priority: int) -> None:
    """Raises `ValueError` for what cannot be part of a place in the queue."""
    if "/" in tenant or not 0 <= priority <= HIGHEST_PRIORITY:
        raise ValueError(f"a tenant's name has no slash, and a priority is 0 to {HIGHEST_PRIORITY}")


class JobStore:
    """Jobs in Redis, one primary or a Cluster. `tenant_running` jobs of a tenant are worked on at once, 0 for any
    number; failures and takeovers in a row without a step are counted apart, and each ends a job at its own number.

    Implements `protocols.Store`, where the methods are described.
    """

    def __init__(
        self,
        redis: Any,
        *,
        prefix: str = "lf",
        lease_seconds: float = 12.0,
        retention_seconds: float = 7 * 24 * 3600,
        max_failures: int = 3,
        max_stalled_takeovers: int = 10,
        tenant_running: int = 0,
    ) -> None:
        self._redis = redis
        self._jobs = Scripts(redis, "job")
        self.keys = Keys(prefix)
        self.lease_seconds = lease_seconds
        self._lease_ms = max(1, round(lease_seconds * 1000))
        self._retention_ms = max(1, round(retention_seconds * 1000))
        self._max_failures = max_failures
        self._max_stalls = max_stalled_takeovers
        self.queue = Queue(redis, self.keys, lease_ms=self._lease_ms, tenant_running=tenant_running)

    async def _run(self, name: str, job: str, *args: str | int) -> Any:
        return await self._jobs.run(name, self.keys.of(job), *args)

    async def _hint(self, told: Awaitable[None]) -> None:
        """Tells the queue what the job's hash has decided. If that fails, the queue finds out by itself."""
        try:
            await told
        except StoreUnavailable:
            log.warning("queue_behind")

    async def create(
        self,
        job: str,
        body: str,
        request: StoredRequest,
        *,
        tenant: str = "",
        priority: int = 0,
        tenant_jobs: int | None = None,
    ) -> bool:
        check_place(tenant, priority)
        data = compact({"mode": request.mode, "documents": len(request.sources)})
        fields = ["question", request.question, "request", request.to_json()]
        if request.webhook:
            fields += ["webhook", request.webhook]
        if request.credentials:
            fields += ["credentials", compact(request.credentials)]
        for _ in range(RESERVATIONS):
            reserved = await self.queue.reserve(job, tenant, priority, tenant_jobs)
            # Without a place the job cannot be made, but it may have been made before.
            held = reserved or Reservation("", 0)
            where = (held.place, held.at_ms, USABLE_MS)
            answer, *known = await self._run("create", job, body, tenant, *where, data, *fields)
            if answer == "made":
                await self._hint(self.queue.enqueue(held.place))
                return True
            if answer != "late":
                await self._repeat(reserved, *known)
                if answer == "mismatch":
                    raise IdempotencyMismatch("this Idempotency-Key was used for a request with another body")
                return False
            if reserved is None:
                raise TooManyJobs(f"the tenant has {tenant_jobs} unfinished jobs, as many as it may")
        raise StoreUnavailable("the job store is too slow")

    async def _repeat(self, reserved: Reservation | None, status: str, place: str, owed: int) -> None:
        """Brings the queue in line with a job that was made before: its maker may have died on the way."""
        ended = JobStatus(status) in TERMINAL
        if reserved is not None and (ended or reserved.place != place):
            await self._hint(self.queue.forget(reserved.place, ended=ended, owed=bool(owed)))
        if status == JobStatus.QUEUED:
            await self._hint(self.queue.enqueue(place))

    async def _fields(self, job: str, names: tuple[str, ...], tenant: str | None) -> dict[str, str]:
        """Fields of the hash that are there. Raises `JobNotFound`."""
        if JOB_ID.fullmatch(job) is None:
            raise JobNotFound(job)
        owner, *found = await self._jobs.ask(self._redis.hmget(self.keys.job(job), ("tenant", *names)))
        if owner is None or (tenant is not None and owner != tenant):
            raise JobNotFound(job)
        values = {"tenant": owner} | dict(zip(names, found, strict=True))
        return {name: value for name, value in values.items() if value is not None}

    async def get(self, job: str, *, tenant: str | None = None) -> Job:
        return job_from_hash(job, await self._fields(job, SHOWN, tenant))

    async def status(self, job: str, *, tenant: str | None = None) -> JobStatus:
        return JobStatus((await self._fields(job, ("status",), tenant))["status"])

    async def claim(self, worker: str) -> Claim | Ended | Idle:
        stalled = stalled_error(self._max_stalls)
        for _ in range(MOST_LOOKS):
            place = await self.queue.pick()
            if isinstance(place, Idle):
                return place
            job, token = job_at(place), secrets.token_hex(16)
            args = (place, token, worker, self._lease_ms, self._retention_ms, self._max_stalls, stalled)
            answer, *told = await self._run("claim", job, *args)
            if answer == "ok":
                now_ms, takeover, flat = told
                values = dict(zip(flat[::2], flat[1::2], strict=True))
                return Claim.from_hash(job, int(now_ms), bool(int(takeover)), values)
            if answer == "held":
                await self._hint(self.queue.extend(place, int(told[0])))
            else:
                ended = answer == "ended"
                await self._hint(self.queue.forget(place, ended=ended, owed=ended and bool(told[0])))
                if len(told) > 1:
                    return Ended(job, JobStatus(told[1]))
        return Idle(0.0)

    async def beat(self, lease: Lease) -> None:
        answer = await self._run("beat", lease.job, lease.token, self._lease_ms)
        if answer != "lost":
            await self._hint(self.queue.extend(lease.place, self._lease_ms))
        _check(answer)

    async def commit(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        return await self.prepare(lease, kind, data, fields).send()

    def prepare(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> Commit:
        pairs = [part for pair in (fields or {}).items() for part in pair]
        following = lease.gen + (1 if pairs else 0)
        args: list[str | int] = [lease.token, lease.gen, following, secrets.token_hex(8), kind, compact(data), *pairs]
        return Commit(self, lease, following, args)

    async def finish(
        self,
        lease: Lease,
        status: JobStatus,
        field: str = "",
        value: str = "",
        *,
        progress: str = "",
        fenced: bool = True,
    ) -> None:
        gen = lease.gen if fenced else ""
        args = (lease.token, gen, status.value, field, value, self._retention_ms, progress)
        answer, *owed = await self._run("finish", lease.job, *args)
        _check(answer)
        await self._hint(self.queue.forget(lease.place, ended=True, owed=bool(owed[0])))

    async def release(self, lease: Lease, failure: str | None = None, *, pause_seconds: float = 0.0) -> str:
        error = "" if failure is None else failure_error(self._max_failures, failure)
        args = (lease.token, self._retention_ms, int(failure is not None), self._max_failures, error)
        answer, *owed = await self._run("release", lease.job, *args)
        if answer == "released":
            await self._hint(self.queue.enqueue(lease.place, max(0, round(pause_seconds * 1000))))
        elif answer != "lost":
            await self._hint(self.queue.forget(lease.place, ended=True, owed=bool(owed[0])))
        return str(answer)

    async def cancel(self, job: str, *, tenant: str | None = None) -> JobStatus:
        if JOB_ID.fullmatch(job) is None:
            raise JobNotFound(job)
        args = (job, self.keys.signals, self._retention_ms, int(tenant is not None), tenant or "")
        told = await self._run("cancel", job, *args)
        if not told:
            raise JobNotFound(job)
        status, place, owed = JobStatus(told[0]), str(told[1]), bool(told[2])
        if status in TERMINAL:
            await self._hint(self.queue.forget(place, ended=True, owed=owed))
        return status

    async def events(self, job: str, after: int, count: int, *, tenant: str | None = None) -> list[RawEvent]:
        if tenant is not None:
            await self._fields(job, (), tenant)
        asked = self._redis.xrange(self.keys.events(job), f"{after + 1}-0", "+", count=count)
        return [RawEvent.from_entry(entry) for entry in await self._jobs.ask(asked)]

    async def event(self, job: str, seq: int, *, tenant: str | None = None) -> RawEvent | None:
        found = await self.events(job, seq - 1, 1, tenant=tenant)
        return found[0] if found and found[0].seq == seq else None

    async def webhook(self, job: str) -> tuple[str, str]:
        values = await self._fields(job, ("webhook",), None)
        return values.get("webhook", ""), values["tenant"]

    async def due_webhook(self, lease_seconds: float) -> tuple[str, int] | None:
        for _ in range(MOST_LOOKS):
            due = await self.queue.due(round(lease_seconds * 1000))
            if due is None:
                return None
            if await self._jobs.ask(self._redis.hget(self.keys.job(due[0]), "outbox")) == "pending":
                return due
            await self.queue.drop(due[0])  # told by somebody who died before saying so, or its retention has ended
        return None

    async def webhook_sent(self, job: str) -> None:
        await self._told(job, "sent")

    async def webhook_failed(self, job: str, attempt: int, retry_seconds: float | None) -> None:
        if retry_seconds is None:
            await self._told(job, "failed")
        else:
            await self.queue.retry(job, attempt, round(retry_seconds * 1000))

    async def webhook_postponed(self, job: str, attempt: int, seconds: float) -> None:
        await self.queue.postpone(job, attempt, round(seconds * 1000))

    async def _told(self, job: str, how: str) -> None:
        await self._run("told", job, how)
        await self._hint(self.queue.drop(job))

    async def stats(self) -> QueueStats:
        return await self.queue.stats()

    async def ping(self) -> None:
        await self._jobs.ask(self._redis.ping())


class Commit:
    """A commit to Redis; see `protocols.Committing`."""

    def __init__(self, store: JobStore, lease: Lease, following: int, args: list[str | int]) -> None:
        self._store = store
        self._lease = lease
        self._following = following
        self._args = args

    async def send(self) -> int:
        reply = await self._store._run("commit", self._lease.job, *self._args)
        _check(reply[0])
        self._lease.gen = self._following
        self._lease.seq = int(reply[1])
        return self._lease.seq


def _check(answer: str) -> None:
    if answer == "lost":
        raise LeaseLost("the job belongs to another worker")
    if answer == "cancel":
        raise JobCancelled("the job was cancelled")
