"""The Lua scripts of one kind and how commands are sent to Redis. Knows no keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from importlib import resources
from typing import Any

from longfold_server.jobs.connection import boundary


def sources(kind: str) -> dict[str, str]:
    """Name to full text of the scripts in `scripts/<kind>`, each with what it shares with the others before it."""
    folder = resources.files("longfold_server.jobs") / "scripts"
    shared = (folder / "clock.lua").read_text("utf-8") + (folder / f"{kind}.lua").read_text("utf-8")
    return {
        file.name.removesuffix(".lua"): shared + file.read_text("utf-8")
        for file in (folder / kind).iterdir()
        if file.name.endswith(".lua")
    }


class Scripts:
    """Every method raises `StoreUnavailable` when Redis is away."""

    def __init__(self, redis: Any, kind: str) -> None:
        self._run = {name: redis.register_script(text) for name, text in sources(kind).items()}
        self._sent: set[asyncio.Future[Any]] = set()

    async def run(self, name: str, keys: Sequence[str], *args: str | int) -> Any:
        """A script's reply."""
        return await self.ask(self._run[name](keys=list(keys), args=list(args)))

    async def ask(self, command: Awaitable[Any]) -> Any:
        """A command's reply. A caller that is cancelled leaves at once and the command ends by itself: redis-py returns
        the reply to a cancelled caller as if nothing had happened, and a job's work or heartbeat would go on."""
        sent = asyncio.ensure_future(command)
        self._sent.add(sent)
        sent.add_done_callback(self._ended)
        with boundary():
            return await asyncio.shield(sent)

    def _ended(self, sent: asyncio.Future[Any]) -> None:
        self._sent.discard(sent)
        if not sent.cancelled():
            sent.exception()  # nobody may be left to take it
