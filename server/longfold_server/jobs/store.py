"""The job store: one method per transition, each one Lua script. The job's hash alone decides who may write; the queue
only wakes.

Knows what a job's record looks like, not what a worker does with it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from importlib import resources
from typing import Any

from longfold_client.types import Job, JobStatus, Problem
from longfold_server.codes import Code, status_of, title_of
from longfold_server.errors import IdempotencyMismatch, JobCancelled, JobNotFound, LeaseLost
from longfold_server.jobs.connection import boundary
from longfold_server.jobs.keys import Keys
from longfold_server.jobs.records import JOB_ID, Claim, QueueStats, RawEvent, StoredRequest, compact, job_from_hash

SHOWN = ("status", "question", "created", "started", "finished", "progress", "result", "error")
"""Fields of the hash that make the wire's Job; the reading's state stays with the workers."""
SCRIPTS = ("create", "claim", "beat", "commit", "finish", "release", "cancel")


def _script(name: str) -> str:
    folder = resources.files("longfold_server.jobs") / "scripts"
    return (folder / "prelude.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")


def _poisoned(detail: str) -> str:
    return Problem(
        title=title_of(Code.JOB_POISONED), status=status_of(Code.JOB_POISONED), detail=detail, code=Code.JOB_POISONED
    ).model_dump_json()


class Lease:
    """A claim that lives: what the next commit must expect. Belongs to one worker task."""

    def __init__(self, claim: Claim) -> None:
        self.job = claim.job
        self.token = claim.token
        self.gen = claim.gen
        self.seq = claim.seq


class JobStore:
    """Jobs in one Redis. Every method raises `StoreUnavailable` when Redis is away."""

    def __init__(
        self,
        redis: Any,
        *,
        prefix: str = "lf",
        lease_seconds: float = 15.0,
        retention_seconds: float = 7 * 24 * 3600,
        max_failures: int = 3,
        max_stalled_takeovers: int = 10,
    ) -> None:
        self._redis = redis
        self.keys = Keys(prefix)
        self.lease_seconds = lease_seconds
        self._lease_ms = max(1, round(lease_seconds * 1000))
        self._retention_ms = max(1, round(retention_seconds * 1000))
        self._max_failures = max_failures
        self._max_stalls = max_stalled_takeovers
        self._sent: set[asyncio.Future[Any]] = set()
        self._run = {name: redis.register_script(_script(name)) for name in SCRIPTS}

    async def _call(self, name: str, keys: list[str], *args: str | int) -> Any:
        return await self._ask(self._run[name](keys=keys, args=list(args)))

    async def _ask(self, command: Awaitable[Any]) -> Any:
        """A command's reply. A caller that is cancelled leaves at once and the command ends by itself: redis-py returns
        the reply to a cancelled caller as if nothing had happened, and a job's work or heartbeat would go on."""
        sent = asyncio.ensure_future(command)
        self._sent.add(sent)
        sent.add_done_callback(self._ended)
        with boundary():
            return await asyncio.shield(sent)

    def _ended(self, sent: asyncio.Future[Any]) -> None:
        self._sent.discard(sent)
        if not sent.cancelled():
            sent.exception()  # nobody may be left to take it

    async def create(self, job: str, body: str, request: StoredRequest) -> bool:
        """CREATE. True when the job was made, False when the same body made it before. Raises `IdempotencyMismatch`."""
        data = compact({"mode": request.mode, "documents": len(request.sources)})
        fields = ("question", request.question, "request", request.to_json())
        made = int(await self._call("create", self.keys.of(job), job, body, self.keys.signals, data, *fields))
        if made < 0:
            raise IdempotencyMismatch("this Idempotency-Key was used for a request with another body")
        return made == 1

    async def get(self, job: str) -> Job:
        """Raises `JobNotFound`."""
        if JOB_ID.fullmatch(job) is None:
            raise JobNotFound(job)
        found = await self._ask(self._redis.hmget(self.keys.job(job), SHOWN))
        values = {name: value for name, value in zip(SHOWN, found, strict=True) if value is not None}
        if not values:
            raise JobNotFound(job)
        return job_from_hash(job, values)

    async def status(self, job: str) -> JobStatus:
        """Only the status. Raises `JobNotFound`."""
        if JOB_ID.fullmatch(job) is None:
            raise JobNotFound(job)
        found = await self._ask(self._redis.hget(self.keys.job(job), "status"))
        if found is None:
            raise JobNotFound(job)
        return JobStatus(found)

    async def claim(self, worker: str) -> Claim | None:
        """CLAIM: a job whose lease ran out, else the oldest that waits, else None."""
        keys = ["", "", self.keys.ready, self.keys.leases]
        stalled = _poisoned(f"the job's workers were lost {self._max_stalls} times in a row without one step")
        args = (
            self.keys.prefix,
            secrets.token_hex(16),
            worker,
            self._lease_ms,
            self._retention_ms,
            self._max_stalls,
            stalled,
        )
        found = await self._call("claim", keys, *args)
        if not found:
            return None
        job, now_ms, takeover, flat = found
        values = dict(zip(flat[::2], flat[1::2], strict=True))
        return Claim.from_hash(job, int(now_ms), bool(int(takeover)), values)

    async def beat(self, lease: Lease) -> None:
        """BEAT: the lease lasts from now again. Raises `LeaseLost`, `JobCancelled`."""
        _check(await self._call("beat", self.keys.of(lease.job), lease.job, lease.token, self._lease_ms))

    async def commit(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        """COMMIT: fields of the hash and one event together; the event's number. Raises `LeaseLost`, `JobCancelled`.

        A commit with fields turns the generation; one without (a piece of the answer) only adds its event. Safe to call
        again after `StoreUnavailable` with the same arguments only through `Committing`, which keeps the commit's own
        id.
        """
        return await self.prepare(lease, kind, data, fields).send()

    def prepare(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> Committing:
        """A commit that may be sent until it is answered and is applied once."""
        pairs = [part for pair in (fields or {}).items() for part in pair]
        following = lease.gen + (1 if pairs else 0)
        args: list[str | int] = [lease.token, lease.gen, following, secrets.token_hex(8), kind, compact(data), *pairs]
        return Committing(self, lease, following, args)

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
        """FINISH: completed (field `result`), failed (field `error`) or cancelled. Raises `LeaseLost`, `JobCancelled`.

        `fenced` also asks for the generation; a failure or cancellation is true whatever was committed last.
        """
        gen = str(lease.gen) if fenced else ""
        args = (lease.job, lease.token, gen, status.value, field, value, self._retention_ms, progress)
        _check((await self._call("finish", self.keys.of(lease.job), *args))[0])

    async def release(self, lease: Lease, failure: str | None = None, *, pause_seconds: float = 0.0) -> str:
        """RELEASE: gives the job back; with a `failure` counted, and the job failed for good when it was one too many.

        Returns `released`, `failed`, `cancelled` or `lost`.
        """
        error = _poisoned(f"the job failed {self._max_failures} times; last: {failure}") if failure is not None else ""
        counted = "0" if failure is None else "1"
        pause = max(0, round(pause_seconds * 1000))
        args = (
            lease.job,
            lease.token,
            self.keys.signals,
            self._retention_ms,
            counted,
            self._max_failures,
            error,
            pause,
        )
        return str(await self._call("release", self.keys.of(lease.job), *args))

    async def cancel(self, job: str) -> JobStatus:
        """CANCEL: at once for a job that waits; a worker is told otherwise. The status afterwards. Raises
        `JobNotFound`."""
        if JOB_ID.fullmatch(job) is None:
            raise JobNotFound(job)
        status = await self._call("cancel", self.keys.of(job), job, self.keys.signals, self._retention_ms)
        if not status:
            raise JobNotFound(job)
        return JobStatus(status)

    async def events(self, job: str, after: int, count: int) -> list[RawEvent]:
        """Up to `count` events behind number `after`, in order."""
        entries = await self._ask(self._redis.xrange(self.keys.events(job), f"{after + 1}-0", "+", count=count))
        return [RawEvent.from_entry(entry) for entry in entries]

    async def event(self, job: str, seq: int) -> RawEvent | None:
        """One event by its number."""
        found = await self.events(job, seq - 1, 1)
        return found[0] if found and found[0].seq == seq else None

    async def stats(self) -> QueueStats:
        """The queue's lengths and the age of its oldest job."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(self.keys.ready).zcard(self.keys.leases).zrange(self.keys.ready, 0, 0, withscores=True).time()
        ready, leased, oldest, (seconds, micros) = await self._ask(pipe.execute())
        age = float(seconds) + float(micros) / 1e6 - float(oldest[0][1]) / 1000 if oldest else 0.0
        return QueueStats(int(ready), int(leased), max(0.0, age))

    async def ping(self) -> None:
        """Raises `StoreUnavailable`."""
        await self._ask(self._redis.ping())


class Committing:
    """One commit with its own id: `send` may be repeated after `StoreUnavailable`, Redis applies it once."""

    def __init__(self, store: JobStore, lease: Lease, following: int, args: list[str | int]) -> None:
        self._store = store
        self._lease = lease
        self._following = following
        self._args = args

    async def send(self) -> int:
        """The event's number. Raises `LeaseLost`, `JobCancelled`, `StoreUnavailable`."""
        reply = await self._store._call("commit", self._store.keys.of(self._lease.job), *self._args)
        _check(reply[0])
        self._lease.gen = self._following
        self._lease.seq = int(reply[1])
        return self._lease.seq


def _check(answer: str) -> None:
    if answer == "lost":
        raise LeaseLost("the job belongs to another worker")
    if answer == "cancel":
        raise JobCancelled("the job was cancelled")
