"""Workers, stale leases, expiry, cancels and repeated sends in any order, against a model of what a job may do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from fakeredis import FakeAsyncRedis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from longfold_client.types import TERMINAL, JobStatus
from longfold_server.errors import IdempotencyMismatch, JobCancelled, LeaseLost
from longfold_server.jobs.records import Source, StoredRequest
from longfold_server.jobs.store import JobStore, Lease

ASKED = StoredRequest("What?", (Source(url="http://example.org"),))
ERROR = '{"title":"t","status":500,"detail":"d","code":"c"}'
MOST_FAILURES = 3
MOST_STALLS = 4


@dataclass
class Model:
    body: str
    status: JobStatus = JobStatus.QUEUED
    token: str = ""
    gen: int = 0
    cancel: bool = False
    expired: bool = False
    failures: int = 0
    stalls: int = 0
    claimed_gen: int = -1
    kinds: list[str] = field(default_factory=lambda: ["created"])

    def end(self, status: JobStatus) -> None:
        self.status, self.token, self.expired = status, "", False
        self.kinds.append(status.value)


class Jobs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = self.runner.run(self._connect())
        self.store = JobStore(
            self.redis, lease_seconds=1000, max_failures=MOST_FAILURES, max_stalled_takeovers=MOST_STALLS
        )
        self.models: dict[str, Model] = {}
        self.leases: list[Lease] = []

    async def _connect(self) -> Any:
        return FakeAsyncRedis(decode_responses=True)

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.redis.flushall())
        self.do(self.redis.aclose())
        self.runner.close()

    def held(self, at: int) -> tuple[Lease, Model, str]:
        """A lease, its job's model, and what the store must say to a write with it."""
        lease = self.leases[at % len(self.leases)]
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

    @rule(number=st.integers(0, 3), body=st.sampled_from(["a", "b"]))
    def create(self, number: int, body: str) -> None:
        job = f"job_{number:032x}"
        known = self.models.get(job)
        if known is None:
            assert self.do(self.store.create(job, body, ASKED))
            self.models[job] = Model(body)
        elif known.body == body:
            assert not self.do(self.store.create(job, body, ASKED))
        else:
            try:
                self.do(self.store.create(job, body, ASKED))
            except IdempotencyMismatch:
                return
            raise AssertionError("another body was taken")

    @rule()
    def claim(self) -> None:
        expired = {job for job, model in self.models.items() if model.expired}
        ready = {job for job, model in self.models.items() if model.status is JobStatus.QUEUED}
        claim = self.do(self.store.claim("worker"))
        # Expired jobs that may not go on are ended on the way; which comes first depends on the order of the queue.
        for job in expired:
            model = self.models[job]
            doomed = model.cancel or (model.stalls + 1 >= MOST_STALLS and model.claimed_gen == model.gen)
            passed = claim is None or not claim.takeover or claim.job != job
            if passed and doomed and self.do(self.store.status(job)) in TERMINAL:
                model.end(JobStatus.CANCELLED if model.cancel else JobStatus.FAILED)
        expired = {job for job in expired if self.models[job].expired}
        if claim is None:
            assert not expired and not ready
            return
        assert claim.job in (expired or ready)
        assert claim.takeover == bool(expired)
        model = self.models[claim.job]
        assert not model.cancel and claim.gen == model.gen and claim.seq == len(model.kinds)
        assert claim.token not in {lease.token for lease in self.leases}
        stalled = claim.takeover and model.claimed_gen == model.gen
        model.stalls = model.stalls + 1 if stalled else 0
        assert model.stalls < MOST_STALLS
        model.status, model.token, model.expired, model.claimed_gen = (
            JobStatus.IN_PROGRESS,
            claim.token,
            False,
            claim.gen,
        )
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
    @rule(at=st.integers(0, 50), status=st.sampled_from(sorted(TERMINAL)))
    def finish(self, at: int, status: JobStatus) -> None:
        lease, model, answer = self.held(at)
        if status is JobStatus.CANCELLED and answer == "cancel":
            answer = "ok"
        name, value = ("error", ERROR) if status is JobStatus.FAILED else ("", "")
        if self.expect(answer, self.store.finish(lease, status, name, value, fenced=False)):
            model.end(status)

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 50), failure=st.booleans())
    def release(self, at: int, failure: bool) -> None:
        lease, model, answer = self.held(at)
        told = self.do(self.store.release(lease, "Bug" if failure else None))
        if answer == "lost":
            assert told == "lost"
        elif answer == "cancel":
            assert told == "cancelled"
            model.end(JobStatus.CANCELLED)
        else:
            model.failures += failure
            if failure and model.failures >= MOST_FAILURES:
                assert told == "failed"
                model.end(JobStatus.FAILED)
            else:
                assert told == "released"
                model.status, model.token, model.expired = JobStatus.QUEUED, "", False

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 3))
    def cancel(self, number: int) -> None:
        job = f"job_{number:032x}"
        if job not in self.models:
            return
        model = self.models[job]
        told = self.do(self.store.cancel(job))
        if model.status is JobStatus.QUEUED:
            model.end(JobStatus.CANCELLED)
        elif model.status is JobStatus.IN_PROGRESS:
            model.cancel = True
        assert told is model.status

    @rule(number=st.integers(0, 3))
    def expire(self, number: int) -> None:
        job = f"job_{number:032x}"
        if self.do(self.redis.zadd(self.store.keys.leases, {job: 1}, xx=True, ch=True)):
            self.models[job].expired = True

    @invariant()
    def agrees(self) -> None:
        ready = set(self.do(self.redis.zrange(self.store.keys.ready, 0, -1)))
        leased = set(self.do(self.redis.zrange(self.store.keys.leases, 0, -1)))
        assert ready == {job for job, model in self.models.items() if model.status is JobStatus.QUEUED}
        assert leased == {job for job, model in self.models.items() if model.status is JobStatus.IN_PROGRESS}
        for job, model in self.models.items():
            assert self.do(self.store.status(job)) is model.status
            events = self.do(self.store.events(job, 0, 1000))
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert [event.kind for event in events] == model.kinds


Jobs.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestJobs = Jobs.TestCase
