"""The wish to stop, heard by everything that waits: streams say goodbye, workers give their jobs back. Knows no signal
and no server."""

from __future__ import annotations

import asyncio


class Drain:
    """Set once; never cleared."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def begin(self) -> None:
        """Call from the event loop's thread."""
        self._event.set()

    @property
    def begun(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()
