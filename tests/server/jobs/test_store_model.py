"""Workers, stale leases, expiry, cancels, repeated sends and lost halves of transitions in any order, against a model
of what a job may do: with the twin in memory, and with a real Redis whose queue falls behind."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from longfold_client.types import TERMINAL, JobStatus
from longfold_server.errors import IdempotencyMismatch, JobCancelled, LeaseLost, StoreUnavailable, TooManyJobs
from longfold_server.jobs.connection import connect
from longfold_server.jobs.memory import MemoryStore
from longfold_server.jobs.queue import Queue
from longfold_server.jobs.records import Ended, Idle, Lease, Source, StoredRequest
from longfold_server.jobs.store import JobStore

ASKED = StoredRequest("What?", (Source(url="http://example.org"),))
TOLD = dataclasses.replace(ASKED, webhook="https://example.org/hook")
ERROR = '{"title":"t","status":500,"detail":"d","code":"c"}'
LIMITS: dict[str, Any] = {
    "lease_seconds": 1000,
    "max_failures": 3,
    "max_stalled_takeovers": 4,
    "tenant_running": 2,
}
TENANT_JOBS = 3
NUMBERS = st.integers(0, 7)
"""Jobs, in turn of two tenants; every third one has a webhook."""


def job_of(number: int) -> str:
    return f"job_{number:032x}"


@dataclass
class Model:
    body: str
    tenant: str
    told: bool
    status: JobStatus = JobStatus.QUEUED
    token: str = ""
    gen: int = 0
    cancel: bool = False
    expired: bool = False
    failures: int = 0
    stalls: int = 0
    claimed_gen: int = -1
    ended_by: str = ""
    left_by: str = ""
    kinds: list[str] = field(default_factory=lambda: ["created"])

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL

    def end(self, status: JobStatus) -> None:
        self.status, self.token, self.expired = status, "", False
        self.kinds.append(status.value)


class Jobs(RuleBasedStateMachine):
    """What must hold of every store. `exact`: nothing the store said was lost, so that it must find what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.models: dict[str, Model] = {}
        self.leases: list[Lease] = []
        self.store: Any = self.make()

    def make(self) -> Any:
        return MemoryStore(**LIMITS)

    def exact(self) -> bool:
        return True

    @property
    def undisturbed(self) -> bool:
        """Whether nothing was lost so far."""
        return True

    def expire_lease(self, job: str) -> None:
        self.store._jobs[job].lease_until = 0

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    def unfinished(self, tenant: str) -> int:
        return sum(model.open and model.tenant == tenant for model in self.models.values())

    def running(self, tenant: str) -> int:
        return sum(one.status is JobStatus.IN_PROGRESS and one.tenant == tenant for one in self.models.values())

    def chosen(self, at: int) -> Lease:
        """Any lease, but mostly one that still holds."""
        holding = [lease for lease in self.leases if self.models[lease.job].token == lease.token]
        among = holding if holding and at % 4 else self.leases
        return among[at // 4 % len(among)]

    def held(self, at: int) -> tuple[Lease, Model, str]:
        """A lease, its job's model, and what the store must say to a write with it."""
        lease = self.chosen(at)
        model = self.models[lease.job]
        if model.token != lease.token:
            return lease, model, "lost"
        return lease, model, "cancel" if model.cancel else "ok"

    def expect(self, answer: str, work: Any) -> bool:
        """Runs `work`; whether it was allowed. Fails when the store disagrees."""
        told = "ok"
        try:
            self.do(work)
        except LeaseLost:
            told = "lost"
        except JobCancelled:
            told = "cancel"
        assert told == answer
        return told == "ok"

    @initialize(numbers=st.sets(NUMBERS, min_size=2, max_size=6))
    def begin(self, numbers: set[int]) -> None:
        for number in sorted(numbers):
            self.create(number, "a")
        self.claim()
        self.claim()

    @rule(number=NUMBERS, body=st.sampled_from(["a", "a", "a", "b"]))
    def create(self, number: int, body: str) -> None:
        job, tenant, request = job_of(number), f"t{number % 2}", TOLD if number % 3 == 0 else ASKED
        known, full, exact = self.models.get(job), self.unfinished(tenant) >= TENANT_JOBS, self.exact()
        work = self.store.create(job, body, request, tenant=tenant, priority=number % 4, tenant_jobs=TENANT_JOBS)
        if known is None:
            try:
                assert self.do(work) and not full
            except TooManyJobs:
                assert full or not exact
                return
            self.models[job] = Model(body, tenant, request is TOLD)
        elif known.body == body:
            assert not self.do(work)
        else:
            try:
                self.do(work)
            except IdempotencyMismatch:
                return
            raise AssertionError("another body was taken")

    @rule()
    def claim(self) -> None:
        exact = self.exact()
        expired = {job for job, model in self.models.items() if model.expired}
        claim = self.do(self.store.claim("worker"))
        free = {
            job
            for job, model in self.models.items()
            if model.status is JobStatus.QUEUED and self.running(model.tenant) < LIMITS["tenant_running"]
        }
        if isinstance(claim, Idle):
            assert not exact or not (expired or free)
            return
        model = self.models[claim.job]
        if isinstance(claim, Ended):
            stalled = model.stalls + 1 >= 4 and model.claimed_gen == model.gen
            assert model.expired and (model.cancel or stalled)
            model.end(JobStatus.CANCELLED if model.cancel else JobStatus.FAILED)
            assert claim.status is model.status
            return
        assert model.expired or model.status is JobStatus.QUEUED
        assert not exact or claim.job in (expired or free)
        assert claim.takeover == model.expired and claim.tenant == model.tenant
        assert not model.cancel and claim.gen == model.gen and claim.seq == len(model.kinds)
        assert claim.token not in {lease.token for lease in self.leases}
        stalled = claim.takeover and model.claimed_gen == model.gen
        model.stalls = model.stalls + 1 if stalled else 0
        assert model.stalls < 4
        model.status, model.token, model.expired = JobStatus.IN_PROGRESS, claim.token, False
        model.claimed_gen = claim.gen
        self.leases.append(Lease(claim))

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50), sends=st.integers(1, 3))
    def commit(self, at: int, sends: int) -> None:
        lease, model, answer = self.held(at)
        commit = self.store.prepare(lease, "step", {}, {"state": "{}"})
        for _ in range(sends):
            allowed = self.expect(answer, commit.send())
        if allowed:
            model.gen += 1
            model.kinds.append("step")
            assert (lease.gen, lease.seq) == (model.gen, len(model.kinds))

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50))
    def delta(self, at: int) -> None:
        lease, model, answer = self.held(at)
        if self.expect(answer, self.store.commit(lease, "delta", {})):
            model.kinds.append("delta")

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50))
    def beat(self, at: int) -> None:
        lease, model, answer = self.held(at)
        self.expect(answer, self.store.beat(lease))
        if answer != "lost":
            model.expired = False

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50), status=st.sampled_from(sorted(TERMINAL)), times=st.integers(1, 2))
    def finish(self, at: int, status: JobStatus, times: int) -> None:
        lease, model, answer = self.held(at)
        repeated = model.status is status and model.ended_by == lease.token
        if repeated or (status is JobStatus.CANCELLED and answer == "cancel"):
            answer = "ok"
        name, value = ("error", ERROR) if status is JobStatus.FAILED else ("", "")
        for _ in range(times):
            allowed = self.expect(answer, self.store.finish(lease, status, name, value, fenced=False))
        if allowed and model.open:
            model.end(status)
            model.ended_by = lease.token

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50), failure=st.booleans())
    def release(self, at: int, failure: bool) -> None:
        lease, model, answer = self.held(at)
        told = self.do(self.store.release(lease, "Bug" if failure else None))
        if model.ended_by == lease.token:
            assert told == model.status.value
        elif model.status is JobStatus.QUEUED and model.left_by == lease.token:
            assert told == "released"
        elif answer == "lost":
            assert told == "lost"
        elif answer == "cancel":
            assert told == "cancelled"
            model.end(JobStatus.CANCELLED)
            model.ended_by = lease.token
        else:
            model.failures += failure
            if failure and model.failures >= 3:
                assert told == "failed"
                model.end(JobStatus.FAILED)
                model.ended_by = lease.token
            else:
                assert told == "released"
                model.status, model.token, model.expired = JobStatus.QUEUED, "", False
                model.left_by = lease.token

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        model = self.models.get(job_of(number))
        if model is None:
            return
        told = self.do(self.store.cancel(job_of(number), tenant=model.tenant))
        if model.status is JobStatus.QUEUED:
            model.end(JobStatus.CANCELLED)
        elif model.status is JobStatus.IN_PROGRESS:
            model.cancel = True
        assert told is model.status

    @rule(number=NUMBERS)
    def expire(self, number: int) -> None:
        model = self.models.get(job_of(number))
        if model is not None and model.status is JobStatus.IN_PROGRESS:
            self.expire_lease(job_of(number))
            model.expired = True

    @invariant()
    def agrees(self) -> None:
        assert not self.undisturbed or self.exact()
        for tenant in ("t0", "t1"):
            assert self.unfinished(tenant) <= TENANT_JOBS
            assert not self.undisturbed or self.running(tenant) <= 2
        for job, model in self.models.items():
            assert self.do(self.store.status(job)) is model.status
            events = self.do(self.store.events(job, 0, 1000))
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert [event.kind for event in events] == model.kinds

    def pass_time(self) -> None:
        """Ends every lease; what was lost must be found now."""
        for number in range(8):
            self.expire(number)

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            self.close()

    def _settle(self) -> None:
        """No job is lost: whatever happened before, workers that go on end every one, and every end is told once."""
        for _ in range(100):
            self.claim()
            for lease in self.leases:
                model = self.models[lease.job]
                if model.token == lease.token:
                    status = JobStatus.CANCELLED if model.cancel else JobStatus.COMPLETED
                    self.do(self.store.finish(lease, status, fenced=False))
                    model.end(status)
            if self.exact() and not any(model.open for model in self.models.values()):
                break
            self.pass_time()
        self.agrees()
        stats = self.do(self.store.stats())
        told = sorted(job for job, model in self.models.items() if model.told)
        assert not any(model.open for model in self.models.values()) and self.exact()
        assert (stats.ready, stats.leased, stats.webhooks) == (0, 0, len(told))
        assert sorted(self.do(self.store.due_webhook(1000))[0] for _ in told) == told

    def close(self) -> None:
        self.runner.close()


class Behind:
    """A queue whose hints get lost, and whose places may be taken by a worker that then sleeps."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.losing = False
        self.given: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if self.losing and name in ("enqueue", "extend", "forget"):
            return self._lose
        return getattr(self._queue, name)

    async def _lose(self, *args: Any, **fields: Any) -> None:
        self.losing = False
        raise StoreUnavailable("lost")

    async def pick(self) -> str | Idle:
        return self.given.pop() if self.given else await self._queue.pick()


class JobsInRedis(Jobs):
    """The same over Redis, where the queue may fall behind, unless it is `quiet`."""

    def __init__(self, url: str, quiet: bool) -> None:
        self.url = url
        self.quiet = quiet
        self.disturbed = False
        self.asleep: list[str] = []
        self.held_back: set[str] = set()
        """Places that a sleeping worker took, until they come back by themselves."""
        super().__init__()

    def make(self) -> JobStore:
        self.redis = self.do(self._connect())
        store = JobStore(self.redis, **LIMITS)
        self.behind = Behind(store.queue)
        store.queue = self.behind  # type: ignore[assignment]
        return store

    async def _connect(self) -> Any:
        client = connect(self.url)
        await client.flushall()
        return client

    def members(self, name: str) -> list[str]:
        return list(self.do(self.redis.zrange(self.store.keys.queue(name), 0, -1)))

    def exact(self) -> bool:
        """The queue holds what the model does, and nobody sleeps over a place."""
        by_status = {
            status: {job for job, model in self.models.items() if model.status is status} for status in JobStatus
        }
        ready, leased = by_status[JobStatus.QUEUED], by_status[JobStatus.IN_PROGRESS]
        opened = {f"{self.models[job].tenant}/{job}" for job in ready | leased}
        found = {name: [place.rpartition("/")[2] for place in self.members(name)] for name in ("ready", "leases")}
        assert sorted(self.members("ready")) == sorted(self.members("waiting"))
        assert sorted(self.members("leases")) == sorted(self.members("running"))
        assert opened <= set(self.members("open"))
        return (
            set(found["ready"]) == ready
            and set(found["leases"]) == leased
            and not self.members("later")
            and not self.held_back  # an expired lease that was taken still stands among the leases
            and set(self.members("open")) == opened
        )

    @property
    def undisturbed(self) -> bool:
        return not self.disturbed

    def expire_lease(self, job: str) -> None:
        self.do(self.redis.hset(self.store.keys.job(job), "lease_until", 0))
        place = self.do(self.redis.hget(self.store.keys.job(job), "place"))
        self.do(self.redis.zadd(self.store.keys.queue("leases"), {place: 1}, xx=True))

    @contextmanager
    def _loses(self) -> Iterator[None]:
        self.disturbed = self.behind.losing = True
        yield
        self.behind.losing = False

    @precondition(lambda self: not self.quiet)
    @rule(number=NUMBERS)
    def create_and_lose(self, number: int) -> None:
        with self._loses():
            self.create(number, "a")

    @precondition(lambda self: not self.quiet)
    @rule()
    def claim_and_lose(self) -> None:
        with self._loses():
            self.claim()

    @precondition(lambda self: self.leases and not self.quiet)
    @rule(at=st.integers(0, 50), verb=st.sampled_from(["beat", "finish", "release", "fail"]))
    def lose(self, at: int, verb: str) -> None:
        with self._loses():
            if verb == "beat":
                self.beat(at)
            elif verb == "finish":
                self.finish(at, JobStatus.COMPLETED, 1)
            else:
                self.release(at, verb == "fail")

    @precondition(lambda self: not self.quiet)
    @rule(number=NUMBERS)
    def cancel_and_lose(self, number: int) -> None:
        with self._loses():
            self.cancel(number)

    @precondition(lambda self: not self.quiet)
    @rule(number=NUMBERS)
    def reserve_and_die(self, number: int) -> None:
        tenant = f"t{number % 2}"
        self.disturbed = True
        self.do(self.store.queue.reserve(job_of(number), tenant, number % 4, TENANT_JOBS))

    @precondition(lambda self: not self.quiet)
    @rule()
    def pick_and_sleep(self) -> None:
        self.disturbed = True
        place = self.do(self.behind._queue.pick())
        if isinstance(place, str):
            self.asleep.append(place)
            self.held_back.add(place)

    @precondition(lambda self: self.asleep)
    @rule(at=st.integers(0, 50))
    def wake(self, at: int) -> None:
        place = self.asleep.pop(at % len(self.asleep))
        self.held_back.discard(place)
        self.behind.given = [place]
        self.claim()

    @precondition(lambda self: not self.quiet)
    @rule()
    def time_passes_in_the_queue(self) -> None:
        """Reservations, pauses and leases of the queue end; the leases of the jobs do not."""
        self.disturbed = True
        self.held_back.clear()
        for name in ("later", "leases"):
            for place in self.members(name):
                self.do(self.redis.zadd(self.store.keys.queue(name), {place: 1}))

    def pass_time(self) -> None:
        super().pass_time()
        if not self.quiet:
            self.time_passes_in_the_queue()

    def close(self) -> None:
        self.do(self.redis.aclose())
        super().close()


def test_in_memory() -> None:
    run_state_machine_as_test(Jobs, settings=settings(max_examples=60, stateful_step_count=50))


@pytest.mark.parametrize("quiet", [True, False])
def test_in_redis(redis_url: str, quiet: bool) -> None:
    run_state_machine_as_test(
        lambda: JobsInRedis(redis_url, quiet),
        settings=settings(max_examples=20, stateful_step_count=40),
    )
