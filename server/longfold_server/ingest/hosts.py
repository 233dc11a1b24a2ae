"""Turns at a host, so that a request with many documents is no burden to a server that holds them all. Knows no
network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Hosts:
    """At most `at_once` requests to a host at the same time, over everything this process fetches; first come, first
    served."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._wanted: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Waits for a turn and holds it. Nobody may wait for a second one while holding a first."""
        turns = self._turns.setdefault(host, asyncio.Semaphore(self._at_once))
        self._wanted[host] = self._wanted.get(host, 0) + 1
        try:
            async with turns:
                yield
        finally:
            self._wanted[host] -= 1
            if not self._wanted[host]:
                del self._wanted[host], self._turns[host]

    def __len__(self) -> int:
        """Hosts that are asked or waited for."""
        return len(self._turns)
