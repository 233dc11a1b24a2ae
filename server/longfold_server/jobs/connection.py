"""Connections to Redis and the one place where its errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from longfold_server.errors import StoreUnavailable

POOL = 64
"""Connections of one process; a request waits for a free one instead of opening more."""
AWAY = (
    "READONLY",
    "MISCONF",
    "OOM",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "BUSY",
    "TRYAGAIN",
    "UNBLOCKED",
)
"""Replies of a Redis that is there but cannot do its work now."""


def connect(url: str) -> Any:
    """A client whose commands fail within seconds. One quick retry: every script may safely run twice."""
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL,
        timeout=5,
        decode_responses=True,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )
    return aioredis.Redis.from_pool(pool)


@contextmanager
def boundary() -> Iterator[None]:
    """Turns "Redis is away" of every kind into `StoreUnavailable`; other errors are bugs and pass."""
    try:
        yield
    except (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ReadOnlyError,
        exceptions.TryAgainError,
        OSError,
    ) as error:
        raise StoreUnavailable(f"the job store is away: {type(error).__name__}") from error
    except exceptions.ResponseError as error:
        if any(word in str(error) for word in AWAY):
            raise StoreUnavailable("the job store cannot write now") from error
        raise
