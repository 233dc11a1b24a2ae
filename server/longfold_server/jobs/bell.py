"""The bell: who waits for a change of a job, or for a signal, is woken by one Redis subscription of the process.

Only a hint: messages can be lost while Redis is away, so every waiter also looks again after `patience` seconds. Many
streams share one connection, and read their events through the store's small pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

Listener = Callable[[str], None]

PATIENCE = 5.0
"""Long, since it only covers a message lost by Redis's at-most-once delivery."""

log = logging.getLogger(__name__)


class Bell:
    """Channels and their listeners over one subscription. `run` must be running in a task for anything to be heard."""

    def __init__(self, redis: Any, idle_channel: str) -> None:
        self._redis = redis
        self._listeners: dict[str, set[Listener]] = {}
        self._idle = idle_channel
        self._pubsub: Any = None
        self._changing = asyncio.Lock()

    @property
    def heard(self) -> bool:
        """Whether messages arrive now."""
        return self._pubsub is not None

    @property
    def patience(self) -> float:
        """Seconds after which a waiter should look for itself."""
        return PATIENCE if self._pubsub is not None else 0.1

    async def run(self) -> None:
        """Hears until cancelled; subscribes again whenever Redis went away."""
        while True:
            try:
                await self._hear()
            except (RedisError, RedisClusterException, OSError) as error:
                log.warning("bell_lost", extra={"error": type(error).__name__})
            await asyncio.sleep(0.2)

    async def _hear(self) -> None:
        await self._redis.initialize()  # of a Cluster: its nodes must be known before one is asked
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            async with self._changing:
                # The idle channel keeps the subscription alive while nobody waits for a job.
                await pubsub.subscribe(self._idle, *self._listeners)
                self._pubsub = pubsub
            self.ring_all()
            while True:
                message = await pubsub.get_message(timeout=5.0)
                if message is not None and message["type"] == "message":
                    for listener in tuple(self._listeners.get(message["channel"], ())):
                        listener(str(message["data"]))
        finally:
            self._pubsub = None
            with suppress(RedisError, OSError):
                await pubsub.aclose()

    def ring_all(self) -> None:
        """Wakes everybody with an empty message: something may have been missed."""
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                listener("")

    async def _subscribe(self, channel: str, *, begin: bool) -> None:
        async with self._changing:
            pubsub = self._pubsub
            if pubsub is None or channel == self._idle or (channel in self._listeners) != begin:
                return
            try:
                await (pubsub.subscribe(channel) if begin else pubsub.unsubscribe(channel))
            except (RedisError, OSError):
                log.debug("bell_not_changed")  # `run` subscribes to everything again

    @contextmanager
    def _listed(self, channel: str, listener: Listener) -> Iterator[None]:
        self._listeners.setdefault(channel, set()).add(listener)
        try:
            yield
        finally:
            listeners = self._listeners[channel]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[channel]

    @asynccontextmanager
    async def listen(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Calls `listener` with every message of the channel."""
        try:
            with self._listed(channel, listener):
                await self._subscribe(channel, begin=True)
                yield
        finally:
            await asyncio.shield(self._subscribe(channel, begin=False))

    @asynccontextmanager
    async def watch(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set at every message; the waiter clears it before it looks."""
        changed = asyncio.Event()
        async with self.listen(channel, lambda message: changed.set()):
            yield changed
