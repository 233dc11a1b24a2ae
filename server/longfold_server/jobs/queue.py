"""The queue's hash slot: hints where work may be, in an order that is fair to tenants. Decides nothing: whoever finds a
place here asks the job's own hash.

Every method raises `StoreUnavailable` when Redis is away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from longfold_server.jobs.keys import Keys
from longfold_server.jobs.lua import Scripts
from longfold_server.jobs.records import Idle, QueueStats

RESERVED_MS = 20_000
"""How long a place waits for its job to be made before a worker looks: longer than a command with its retry lasts."""
USABLE_MS = RESERVED_MS // 2
"""How long a reservation may still be used; the rest is room for the clocks of two Redis nodes to differ."""
HIGHEST_PRIORITY = 9


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place in the queue for a job that is about to be made."""

    place: str
    at_ms: int
    """When it was made, by the queue's clock."""


def job_at(place: str) -> str:
    """The job of a place."""
    return place.rpartition("/")[2]


class Queue:
    """Places of jobs, leases of places, and the outbox of webhooks."""

    def __init__(self, redis: Any, keys: Keys, *, lease_ms: int, tenant_running: int) -> None:
        self._scripts = Scripts(redis, "queue")
        self._keys = keys
        self._lease_ms = lease_ms
        self._tenant_running = tenant_running

    async def _run(self, name: str, *args: str | int) -> Any:
        return await self._scripts.run(name, self._keys.queues, *args)

    async def reserve(self, job: str, tenant: str, priority: int, most: int | None) -> Reservation | None:
        """A place for a job; None when the tenant has `most` unfinished ones. Counts for a job that has its place
        already, too, which is how a request is repeated."""
        order, limit = HIGHEST_PRIORITY - priority, "" if most is None else most
        found = await self._run("reserve", job, tenant, order, limit, RESERVED_MS)
        return Reservation(found[0], int(found[1])) if found else None

    async def enqueue(self, place: str, pause_ms: int = 0) -> None:
        """The job can be claimed, now or after a pause."""
        await self._run("enqueue", place, pause_ms, self._keys.signals)

    async def pick(self) -> str | Idle:
        """A place where there may be work, leased to the caller: a lease that ran out, else the next tenant's first."""
        place, *soonest = await self._run("pick", self._lease_ms, self._tenant_running)
        if place:
            return str(place)
        left = int(soonest[0])
        return Idle(math.inf if left < 0 else left / 1000)

    async def extend(self, place: str, ms: int) -> None:
        """The lease lasts `ms` from now, unless it was given up."""
        await self._run("extend", place, ms)

    async def forget(self, place: str, *, ended: bool, owed: bool = False) -> None:
        """Nothing to do at this place; `ended` when its job needs none any more, `owed` when its end must be told."""
        await self._run("forget", place, int(ended), int(owed))

    async def due(self, lease_ms: int) -> tuple[str, int] | None:
        """The job whose webhook is due, leased to the caller, and how often it was taken before."""
        found = await self._run("due", lease_ms)
        return (str(found[0]), int(found[1])) if found else None

    async def retry(self, job: str, attempt: int, ms: int) -> None:
        """The webhook is due again in `ms`, unless somebody else has taken it since that attempt."""
        await self._run("retry", job, attempt, ms)

    async def postpone(self, job: str, attempt: int, ms: int) -> None:
        """The webhook is due again in `ms`, and that attempt was none, unless somebody else has taken it since."""
        await self._run("postpone", job, attempt, ms)

    async def drop(self, job: str) -> None:
        """The webhook is not owed any more."""
        await self._run("drop", job)

    async def stats(self) -> QueueStats:
        """Lengths and the longest wait."""
        ready, leased, waited, webhooks = await self._run("stats")
        return QueueStats(int(ready), int(leased), int(waited) / 1000, int(webhooks))
