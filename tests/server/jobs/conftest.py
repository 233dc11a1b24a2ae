"""Job stores over a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from longfold_server.jobs.records import Source, StoredRequest
from longfold_server.jobs.store import JobStore


@pytest.fixture
def store(redis: Any) -> JobStore:
    return JobStore(redis, lease_seconds=30, retention_seconds=100, max_failures=3, max_stalled_takeovers=3)


@pytest.fixture
def asked() -> StoredRequest:
    return StoredRequest("What?", (Source(url="http://example.org/a"),))


@pytest.fixture
def expire(redis: Any, store: JobStore) -> Callable[[str], Any]:
    """Makes a job's lease run out now."""

    async def expiring(job: str) -> None:
        assert await redis.zadd(store.keys.leases, {job: 1}, xx=True, ch=True) == 1

    return expiring
