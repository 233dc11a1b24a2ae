"""The two job stores, and how a test makes their time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from longfold_client.types import JobStatus
from longfold_server.jobs.memory import MemoryStore
from longfold_server.jobs.protocols import Store
from longfold_server.jobs.records import Source, StoredRequest
from longfold_server.jobs.store import JobStore

LIMITS: dict[str, Any] = {
    "lease_seconds": 30,
    "retention_seconds": 100,
    "max_failures": 3,
    "max_stalled_takeovers": 3,
}


class InRedis:
    """Jobs in a real Redis, whose clock nobody can turn: short times are waited for."""

    def __init__(self, redis: Any, lapse: Callable[..., Awaitable[None]]) -> None:
        self._redis = redis
        self._lapse = lapse

    def store(self, **options: Any) -> JobStore:
        return JobStore(self._redis, **LIMITS | options)

    async def expire(self, store: JobStore, job: str) -> None:
        await self._lapse(self._redis, store.keys, job)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class InMemory:
    """Jobs in memory, with a clock of the test's own."""

    def __init__(self) -> None:
        self._now = 1_000_000_000.0

    def store(self, **options: Any) -> MemoryStore:
        return MemoryStore(clock=lambda: self._now, **LIMITS | options)

    async def expire(self, store: MemoryStore, job: str) -> None:
        record = store._jobs[job]
        assert record.status is JobStatus.IN_PROGRESS
        record.lease_until = 0

    async def wait(self, seconds: float) -> None:
        self._now += seconds


Place = InRedis | InMemory


@pytest.fixture(params=["redis", "memory"])
def where(request: pytest.FixtureRequest, lapse: Callable[..., Awaitable[None]]) -> Place:
    """Where the jobs are: every test of what a store does runs with both."""
    return InMemory() if request.param == "memory" else InRedis(request.getfixturevalue("redis"), lapse)


@pytest.fixture
def store(where: Place) -> Store:
    return where.store()


@pytest.fixture
def expire(where: Place, store: Any) -> Callable[[str], Awaitable[None]]:
    """Makes a job's lease run out now."""
    return lambda job: where.expire(store, job)


@pytest.fixture
def jobs(redis: Any) -> JobStore:
    """A store in Redis, for what only Redis can do."""
    return JobStore(redis, **LIMITS)


@pytest.fixture
def asked() -> StoredRequest:
    return StoredRequest("What?", (Source(url="http://example.org/a"),))
