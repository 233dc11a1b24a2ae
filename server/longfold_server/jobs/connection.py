"""Connections to Redis: how they are made, whether what is there keeps jobs, and the one place where its errors become
ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from longfold_server.errors import ConfigError, StoreUnavailable

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
APART = ("cannot be connected", "are not covered", "could not agree", "No targets were found")
"""What the client says of a Cluster of which parts are away."""
HEALTH_SECONDS = 30
"""An idle connection is asked whether it is well before it is used again. Not on a unix socket, whose end is seen at
once: redis-py would ask there before the connection is ready, and an error for an answer (a Redis that loads its data,
or wants a password) makes it connect again inside itself, without end."""
START_SECONDS = 10.0
"""How long a starting process waits for a Redis that starts beside it."""

log = logging.getLogger(__name__)


def connect(url: str, *, cluster: bool = False) -> Any:
    """A client whose commands fail within seconds. One quick retry: every script may safely run twice. Raises
    `ConfigError`."""
    # Never the client's own text: it may hold the URL's password.
    try:
        return _cluster(url) if cluster else _primary(url)
    except ValueError:
        raise ConfigError("LONGFOLD_REDIS_URL is not a redis://, rediss:// or unix:// URL") from None
    except exceptions.RedisClusterException:
        raise ConfigError("a Redis Cluster needs a redis:// or rediss:// URL without a database number") from None


def _cluster(url: str) -> Any:
    return aioredis.RedisCluster.from_url(
        url,
        max_connections=POOL,
        decode_responses=True,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        health_check_interval=HEALTH_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )


def _primary(url: str) -> Any:
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL,
        timeout=5,
        decode_responses=True,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        health_check_interval=0 if url.startswith("unix://") else HEALTH_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )
    return aioredis.Redis.from_pool(pool)


async def close(redis: Any) -> None:
    """Closes a client. On a machine with too much to do a connection may not close in time, which is nobody's concern
    any more."""
    with suppress(exceptions.RedisError, OSError):
        await redis.aclose()


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
        exceptions.ClusterError,
        OSError,
    ) as error:
        raise StoreUnavailable(f"the job store is away: {type(error).__name__}") from error
    except exceptions.ResponseError as error:
        # The client takes the word from the message where it has a class for it.
        if isinstance(error, exceptions.OutOfMemoryError) or any(word in str(error) for word in AWAY):
            raise StoreUnavailable("the job store cannot write now") from error
        raise
    except exceptions.RedisClusterException as error:
        if any(words in str(error) for words in APART):
            raise StoreUnavailable("a part of the job store is away") from error
        raise


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a running Redis says about itself."""

    version: str
    policy: str | None
    """maxmemory-policy; None when it does not tell."""
    append_only: bool | None
    """None when it does not tell."""

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Self:
        """From INFO, which managed services allow where they forbid CONFIG."""
        policy, append_only = info.get("maxmemory_policy"), info.get("aof_enabled")
        return cls(
            str(info.get("redis_version", "?")),
            None if policy is None else str(policy),
            None if append_only is None else bool(append_only),
        )

    @property
    def evicts(self) -> bool:
        """Whether it drops keys when its memory is full."""
        return self.policy is not None and self.policy.startswith(("allkeys-", "volatile-"))


def _is_refusal(error: BaseException | None) -> bool:
    """Whether Redis took no password; on a unix socket the client wraps what it said."""
    return error is not None and (isinstance(error, exceptions.AuthenticationError) or _is_refusal(error.__cause__))


async def _facts(redis: Any) -> list[RedisFacts]:
    """Of every primary. Raises `StoreUnavailable`, and `ConfigError` where the password is not taken."""
    cluster = isinstance(redis, aioredis.RedisCluster)
    try:
        with boundary():
            info = await (redis.info(target_nodes=aioredis.RedisCluster.PRIMARIES) if cluster else redis.info())
    except StoreUnavailable as error:
        if _is_refusal(error):  # waiting cannot help
            raise ConfigError(
                "Redis refuses the user or password of LONGFOLD_REDIS_URL, or wants one that it lacks: write them as "
                "redis://USER:PASSWORD@host"
            ) from None
        raise
    except exceptions.ResponseError:
        return [RedisFacts("?", None, None)]  # INFO is forbidden
    nodes = list(info.values()) if all(isinstance(one, dict) for one in info.values()) else [info]
    return [RedisFacts.from_info(node) for node in nodes]


def vet(facts: RedisFacts, *, accept_loss: bool) -> None:
    """Raises `ConfigError` for a Redis that would lose jobs: one that evicts in any case, one that forgets or does not
    tell unless that is accepted."""
    if facts.evicts:
        raise ConfigError(
            f"Redis has maxmemory-policy {facts.policy}, which drops jobs when memory is full: set it to noeviction"
        )
    if accept_loss:
        return
    if facts.append_only is False:
        raise ConfigError(
            "Redis runs without appendonly and forgets jobs when it restarts: set it to yes, "
            "or accept that with LONGFOLD_REDIS_ACCEPT_LOSS=true"
        )
    if facts.policy is None or facts.append_only is None:
        raise ConfigError(
            "Redis does not tell whether it keeps jobs, for which it needs maxmemory-policy noeviction and appendonly "
            "yes: allow INFO, or start with LONGFOLD_REDIS_ACCEPT_LOSS=true"
        )


async def check_redis(url: str, *, cluster: bool, accept_loss: bool, seconds: float = START_SECONDS) -> None:
    """Raises `ConfigError` for a Redis that would lose jobs or refuses us. One that does not answer in time is not
    checked: the service starts without it and waits."""
    redis = connect(url, cluster=cluster)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    for facts in await _facts(redis):
                        vet(facts, accept_loss=accept_loss)
                    return
                except StoreUnavailable:
                    await asyncio.sleep(0.2)
    except TimeoutError:
        log.warning("redis_unchecked")
    finally:
        await close(redis)
