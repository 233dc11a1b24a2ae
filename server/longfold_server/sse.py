"""A job's events as a server-sent event stream (WHATWG HTML, 9.2), from any replica and from any event number.

Knows the store and the bell; knows no route.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress

from longfold_client.types import FINAL_EVENTS, TERMINAL, Event, EventType, Job
from longfold_server.drain import Drain
from longfold_server.errors import JobNotFound, StoreUnavailable
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.protocols import Store
from longfold_server.jobs.records import RawEvent
from longfold_server.jobs.unfolding import Unfolding

HEARTBEAT_SECONDS = 15.0
"""Below the idle limit of common proxies (30 to 60 s)."""
PAGE = 100
"""Events read at once: what a slow reader costs in memory."""
FIRST_LOOK_SECONDS = 0.25
"""An event that came while the subscription was on its way is found by looking again soon."""
RECONNECT = b"event: reconnect\nretry: 500\ndata: {}\n\n"
HEARTBEAT = b": heartbeat\n\n"
KINDS = frozenset(kind.value for kind in EventType)
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""No proxy may hold the stream back."""


def encode(event: Event) -> bytes:
    """One event on the wire; its JSON has no line breaks."""
    return _block(event.seq, event.type.value, event.model_dump_json())


def passed_over(raw: RawEvent) -> bytes:
    """An event of a kind that only a newer replica knows: its number alone, since readers count without gaps."""
    told = {"seq": raw.seq, "type": raw.kind, "at": raw.at.isoformat(), "data": {}}
    return _block(raw.seq, raw.kind, json.dumps(told))


def _block(seq: int, kind: str, data: str) -> bytes:
    return f"id: {seq}\nevent: {kind}\ndata: {data}\n\n".encode()


async def stream(
    store: Store, bell: Bell, drain: Drain, job: str, after: int, *, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[bytes, None]:
    """Events behind number `after`, until a final one. Ends with `reconnect` when the replica drains or the store goes
    away."""
    unfolding = Unfolding(store, job)
    loop = asyncio.get_running_loop()
    async with bell.watch(store.keys.events(job)) as changed:
        spoke, look, check = loop.time(), FIRST_LOOK_SECONDS, True
        try:
            while not drain.begun:
                changed.clear()
                raws = await store.events(job, after, PAGE)
                for raw in raws:
                    yield encode(await unfolding.event(raw)) if raw.kind in KINDS else passed_over(raw)
                    after, spoke = raw.seq, loop.time()
                    if raw.kind in FINAL_EVENTS:
                        return
                if len(raws) == PAGE:
                    continue
                if check and not raws and await store.status(job) in TERMINAL and not await store.events(job, after, 1):
                    return  # asked for what comes behind the end
                try:
                    await asyncio.wait_for(changed.wait(), min(look, heartbeat))
                    check = False
                except TimeoutError:
                    check = True
                look = bell.patience
                if loop.time() - spoke >= heartbeat:
                    yield HEARTBEAT
                    spoke = loop.time()
        except (StoreUnavailable, JobNotFound):
            yield RECONNECT
            return
        yield RECONNECT


async def wait_for_end(store: Store, bell: Bell, drain: Drain, job: str, seconds: float) -> Job:
    """The job when it has ended, or after `seconds`, or when the replica drains. Raises `JobNotFound`,
    `StoreUnavailable`."""
    deadline = asyncio.get_running_loop().time() + seconds
    look = FIRST_LOOK_SECONDS
    async with bell.watch(store.keys.events(job)) as changed:
        while not drain.begun and (left := deadline - asyncio.get_running_loop().time()) > 0:
            changed.clear()
            if await store.status(job) in TERMINAL:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, look))
            look = bell.patience
    return await store.get(job)
