"""Jobs in this process's memory: the twin of `JobStore`, for tests and for a single process that may forget them.

The same transitions without a queue that could be behind: one dictionary is job and queue at once. Announces nothing,
so who waits for a change looks again by itself.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from longfold_client.types import TERMINAL, Job, JobStatus
from longfold_server.errors import IdempotencyMismatch, JobCancelled, JobNotFound, LeaseLost, TooManyJobs
from longfold_server.jobs.keys import Keys
from longfold_server.jobs.queue import HIGHEST_PRIORITY
from longfold_server.jobs.records import (
    Claim,
    Ended,
    Idle,
    Lease,
    QueueStats,
    RawEvent,
    StoredRequest,
    compact,
    job_from_hash,
    moment,
)
from longfold_server.jobs.store import check_place, failure_error, stalled_error


@dataclass(slots=True)
class _Record:
    """One job; moments in seconds of the store's clock."""

    body: str
    tenant: str
    request: StoredRequest
    place: str
    created: float
    ready: float
    """When it may be claimed; of a job that waits."""
    waiting: float
    """Since when it waits."""
    status: JobStatus = JobStatus.QUEUED
    token: str = ""
    lease_until: float = 0.0
    gen: int = 0
    claimed_gen: int = -1
    last: str = ""
    cancel: bool = False
    failures: int = 0
    stalls: int = 0
    started: float | None = None
    finished: float | None = None
    ended_by: str = ""
    left_by: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    events: list[RawEvent] = field(default_factory=list)
    webhook_due: float | None = None
    """When its end is told next; None when nobody waits for that."""
    attempts: int = 0


def _ms(moment: float) -> str:
    return str(round(moment * 1000))


class MemoryStore:
    """See `JobStore` for the arguments; `clock` is in seconds since 1970. Implements `protocols.Store`, where the
    methods are described; never away."""

    def __init__(
        self,
        *,
        lease_seconds: float = 12.0,
        retention_seconds: float = 7 * 24 * 3600,
        max_failures: int = 3,
        max_stalled_takeovers: int = 10,
        tenant_running: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = Keys()
        self.lease_seconds = lease_seconds
        self._retention = retention_seconds
        self._max_failures = max_failures
        self._max_stalls = max_stalled_takeovers
        self._tenant_running = tenant_running
        self._clock = clock
        self._jobs: dict[str, _Record] = {}
        self._turn: str | None = None

    def _find(self, job: str, tenant: str | None = None) -> _Record:
        self._expire()
        record = self._jobs.get(job)
        if record is None or (tenant is not None and record.tenant != tenant):
            raise JobNotFound(job)
        return record

    def _expire(self) -> None:
        end = self._clock() - self._retention
        over = [job for job, record in self._jobs.items() if record.finished is not None and record.finished <= end]
        for job in over:
            del self._jobs[job]

    def _held(self, lease: Lease) -> _Record:
        """The record of a job that is ours. Raises `LeaseLost`."""
        record = self._jobs.get(lease.job)
        if record is None or record.token != lease.token:
            raise LeaseLost("the job belongs to another worker")
        return record

    def _emit(self, record: _Record, kind: str, data: object) -> int:
        told = RawEvent(len(record.events) + 1, kind, moment(_ms(self._clock())), json.loads(compact(data)))
        record.events.append(told)
        return told.seq

    def _end(self, record: _Record, status: JobStatus, name: str = "", value: str = "", by: str = "") -> None:
        record.status, record.token, record.finished, record.ended_by = status, "", self._clock(), by
        if name:
            record.fields[name] = value
        if record.request.webhook:
            record.webhook_due = self._clock()
        record.request = replace(record.request, credentials={})
        record.fields.pop("state", None)
        record.fields.pop("setup", None)
        self._emit(record, status.value, {})

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
        self._expire()
        known = self._jobs.get(job)
        if known is not None:
            if (known.body, known.tenant) != (body, tenant):
                raise IdempotencyMismatch("this Idempotency-Key was used for a request with another body")
            return False
        open_jobs = sum(one.tenant == tenant and one.status not in TERMINAL for one in self._jobs.values())
        if tenant_jobs is not None and open_jobs >= tenant_jobs:
            raise TooManyJobs(f"the tenant has {tenant_jobs} unfinished jobs, as many as it may")
        now = self._clock()
        place = f"{tenant}/{HIGHEST_PRIORITY - priority}/{round(now * 1000):015d}/{job}"
        record = self._jobs[job] = _Record(body, tenant, request, place, created=now, ready=now, waiting=now)
        self._emit(record, "created", {"mode": request.mode, "documents": len(request.sources)})
        return True

    async def get(self, job: str, *, tenant: str | None = None) -> Job:
        record = self._find(job, tenant)
        values = record.fields | {
            "status": record.status.value,
            "question": record.request.question,
            "created": _ms(record.created),
        }
        if record.started is not None:
            values["started"] = _ms(record.started)
        if record.finished is not None:
            values["finished"] = _ms(record.finished)
        return job_from_hash(job, values)

    async def status(self, job: str, *, tenant: str | None = None) -> JobStatus:
        return self._find(job, tenant).status

    async def claim(self, worker: str) -> Claim | Ended | Idle:
        now = self._clock()
        job = self._lapsed(now) or self._next_in_turn(now)
        return Idle(max(0.0, self._soonest() - now)) if job is None else self._take(job, now)

    def _with_status(self, status: JobStatus) -> dict[str, _Record]:
        return {job: record for job, record in self._jobs.items() if record.status is status}

    def _lapsed(self, now: float) -> str | None:
        over = {
            job: one.lease_until
            for job, one in self._with_status(JobStatus.IN_PROGRESS).items()
            if one.lease_until <= now
        }
        return min(over, key=over.__getitem__, default=None)

    def _next_in_turn(self, now: float) -> str | None:
        places = sorted(
            (one.place, job) for job, one in self._with_status(JobStatus.QUEUED).items() if one.ready <= now
        )
        # Tenants in the order of their names, from the one behind the last; of each its first place.
        firsts = {self._jobs[job].tenant: job for _, job in reversed(places)}
        last = "" if self._turn is None else f"{self._turn}/"
        order = sorted(firsts, key=lambda tenant: (f"{tenant}/" <= last, f"{tenant}/"))
        running = [record.tenant for record in self._with_status(JobStatus.IN_PROGRESS).values()]
        for tenant in order:
            if not self._tenant_running or running.count(tenant) < self._tenant_running:
                self._turn = tenant
                return firsts[tenant]
        return None

    def _soonest(self) -> float:
        leases = [record.lease_until for record in self._with_status(JobStatus.IN_PROGRESS).values()]
        pauses = [one.ready for one in self._with_status(JobStatus.QUEUED).values() if one.ready > self._clock()]
        return min(leases + pauses, default=math.inf)

    def _take(self, job: str, now: float) -> Claim | Ended:
        record = self._jobs[job]
        takeover = record.status is JobStatus.IN_PROGRESS
        stalled = takeover and record.claimed_gen == record.gen
        record.stalls = record.stalls + 1 if stalled else 0
        if record.cancel:
            self._end(record, JobStatus.CANCELLED)
            return Ended(job, record.status)
        if record.stalls >= self._max_stalls:
            self._end(record, JobStatus.FAILED, "error", stalled_error(self._max_stalls))
            return Ended(job, record.status)
        record.status, record.token, record.claimed_gen, record.last = (
            JobStatus.IN_PROGRESS,
            secrets.token_hex(16),
            record.gen,
            "",
        )
        record.lease_until = now + self.lease_seconds
        record.started = now if record.started is None else record.started
        return Claim(
            job=job,
            token=record.token,
            gen=record.gen,
            seq=len(record.events),
            request=record.request,
            setup=record.fields.get("setup"),
            state=record.fields.get("state"),
            progress=record.fields.get("progress"),
            queued_seconds=record.started - record.created,
            age_seconds=now - record.started,
            takeover=takeover,
            tenant=record.tenant,
            place=record.place,
        )

    async def beat(self, lease: Lease) -> None:
        record = self._held(lease)
        record.lease_until = self._clock() + self.lease_seconds
        if record.cancel:
            raise JobCancelled("the job was cancelled")

    async def commit(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        return await self.prepare(lease, kind, data, fields).send()

    def prepare(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> MemoryCommit:
        return MemoryCommit(self, lease, kind, data, fields or {})

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
        ended = self._jobs.get(lease.job)
        if ended is not None and ended.ended_by == lease.token and ended.status is status:
            return
        record = self._held(lease)
        if fenced and record.gen != lease.gen:
            raise LeaseLost("the job belongs to another worker")
        if record.cancel and status is not JobStatus.CANCELLED:
            raise JobCancelled("the job was cancelled")
        if progress:
            record.fields["progress"] = progress
        self._end(record, status, field, value, lease.token)

    async def release(self, lease: Lease, failure: str | None = None, *, pause_seconds: float = 0.0) -> str:
        record = self._jobs.get(lease.job)
        if record is not None and record.ended_by == lease.token:
            return record.status.value
        if record is not None and record.status is JobStatus.QUEUED and record.left_by == lease.token:
            return "released"
        if record is None or record.token != lease.token:
            return "lost"
        if record.cancel:
            self._end(record, JobStatus.CANCELLED, by=lease.token)
            return record.status.value
        if failure is not None:
            record.failures += 1
            if record.failures >= self._max_failures:
                error = failure_error(self._max_failures, failure)
                self._end(record, JobStatus.FAILED, "error", error, lease.token)
                return record.status.value
        record.status, record.token, record.left_by = JobStatus.QUEUED, "", lease.token
        record.ready = record.waiting = self._clock() + max(0.0, pause_seconds)
        return "released"

    async def cancel(self, job: str, *, tenant: str | None = None) -> JobStatus:
        record = self._find(job, tenant)
        if record.status is JobStatus.QUEUED:
            self._end(record, JobStatus.CANCELLED)
        elif record.status is JobStatus.IN_PROGRESS:
            record.cancel = True
        return record.status

    async def events(self, job: str, after: int, count: int, *, tenant: str | None = None) -> list[RawEvent]:
        if tenant is not None:
            self._find(job, tenant)
        self._expire()
        record = self._jobs.get(job)
        return [] if record is None else record.events[after : after + count]

    async def event(self, job: str, seq: int, *, tenant: str | None = None) -> RawEvent | None:
        found = await self.events(job, seq - 1, 1, tenant=tenant)
        return found[0] if found else None

    async def webhook(self, job: str) -> tuple[str, str]:
        record = self._find(job)
        return record.request.webhook, record.tenant

    async def due_webhook(self, lease_seconds: float) -> tuple[str, int] | None:
        self._expire()
        now = self._clock()
        due = {job: one.webhook_due for job, one in self._jobs.items() if one.webhook_due is not None}
        job = min(due, key=due.__getitem__, default=None)
        if job is None or due[job] > now:
            return None
        record = self._jobs[job]
        record.webhook_due, record.attempts = now + lease_seconds, record.attempts + 1
        return job, record.attempts - 1

    async def webhook_sent(self, job: str) -> None:
        if job in self._jobs:
            self._jobs[job].webhook_due = None

    async def webhook_failed(self, job: str, attempt: int, retry_seconds: float | None) -> None:
        record = self._jobs.get(job)
        if record is None or record.webhook_due is None:
            return
        if retry_seconds is None:
            record.webhook_due = None
        elif record.attempts == attempt + 1:
            record.webhook_due = self._clock() + retry_seconds

    async def webhook_postponed(self, job: str, attempt: int, seconds: float) -> None:
        record = self._jobs.get(job)
        if record is not None and record.webhook_due is not None and record.attempts == attempt + 1:
            record.webhook_due, record.attempts = self._clock() + seconds, attempt

    async def stats(self) -> QueueStats:
        self._expire()
        waiting = self._with_status(JobStatus.QUEUED).values()
        now = self._clock()
        oldest = min((one.waiting for one in waiting if one.ready <= now), default=now)
        webhooks = sum(one.webhook_due is not None for one in self._jobs.values())
        return QueueStats(len(waiting), len(self._with_status(JobStatus.IN_PROGRESS)), now - oldest, webhooks)

    async def ping(self) -> None:
        """Always there."""


class MemoryCommit:
    """A commit to memory; see `protocols.Committing`."""

    def __init__(self, store: MemoryStore, lease: Lease, kind: str, data: object, fields: dict[str, str]) -> None:
        self._store = store
        self._lease = lease
        self._kind = kind
        self._data = data
        self._fields = fields
        self._gen = lease.gen
        self._id = secrets.token_hex(8)

    async def send(self) -> int:
        record = self._store._held(self._lease)
        if record.last != self._id:
            if record.gen != self._gen:
                raise LeaseLost("the job belongs to another worker")
            if record.cancel:
                raise JobCancelled("the job was cancelled")
            record.gen, record.last = self._gen + bool(self._fields), self._id
            record.fields |= self._fields
            self._store._emit(record, self._kind, self._data)
        self._lease.gen, self._lease.seq = self._gen + bool(self._fields), len(record.events)
        return self._lease.seq
