"""What has been used: requests of a key's last window, tokens of a tenant's day. Counts; knows no limits' origin and no
HTTP.

Redis is asked by two small scripts of our own: the library `limits` has the same window, and takes its moments from the
caller's clock, which differs between replicas. A command that is sent again because its reply was lost counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

from longfold_server.jobs.connection import boundary
from longfold_server.tenants.limits import Rate


def _script(name: str) -> str:
    return (resources.files("longfold_server.tenants") / "scripts" / f"{name}.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands after one request."""

    rate: Rate
    admitted: bool
    left: int
    """Requests that would be admitted now."""
    seconds: float
    """Until a place becomes free again."""


@dataclass(frozen=True, slots=True)
class Day:
    """How a tenant stands today."""

    spent: int
    seconds: int
    """Until the day ends (UTC)."""


class Usage:
    """The counters in one Redis. Every method raises `StoreUnavailable` when it is away."""

    def __init__(self, redis: Any, prefix: str = "lf") -> None:
        self._prefix = prefix
        self._rate = redis.register_script(_script("rate"))
        self._tokens = redis.register_script(_script("tokens"))

    async def request(self, key_id: str, rate: Rate) -> Standing:
        """Counts a request of a key, unless its window is full: a request that is refused takes no place."""
        keys = [f"{self._prefix}:{{key:{key_id}}}:requests"]
        with boundary():
            admitted, left, micros = await self._rate(keys=keys, args=[rate.count, rate.seconds])
        return Standing(rate, bool(admitted), int(left), max(0.0, int(micros) / 1e6))

    async def spend(self, tenant: str, tokens: int) -> Day:
        """Adds to the tenant's day; 0 only looks."""
        with boundary():
            spent, seconds = await self._tokens(keys=[f"{self._prefix}:{{tenant:{tenant}}}:tokens"], args=[tokens])
        return Day(int(spent), int(seconds))
