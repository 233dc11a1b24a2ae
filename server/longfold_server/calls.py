"""One job's engine calls: waits for an engine that is away, counts usage and time. Is itself an `Engine`. Knows no
prompts and no store."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from longfold_agent.errors import EngineError, EngineOverloaded, EngineProtocolError
from longfold_agent.protocols import Delta, Engine, Request
from longfold_agent.types import Completion, Usage
from longfold_client.types import TokenUsage
from longfold_server.codes import Code
from longfold_server.errors import JobFailure
from longfold_server.metrics import Metrics

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""Seconds between attempts; doubled each time, with jitter so that jobs do not return all at once."""

log = logging.getLogger(__name__)


class EngineCalls:
    """An `Engine` over another, for one job.

    A retryable error is waited out for up to `patience_seconds` per call, then raised as `JobFailure`
    engine_unavailable; one that retrying cannot help passes, since the caller may know what to do.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, patience_seconds: float, job: str = "") -> None:
        self._engine = engine
        self._metrics = metrics
        self._patience = patience_seconds
        self._job = job
        self.usage = TokenUsage()
        self.seconds = 0.0
        """Time spent in calls that gave a completion."""

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        async def attempt() -> list[Completion]:
            began = asyncio.get_running_loop().time()
            done = await self._engine.complete(requests)
            self._spent(asyncio.get_running_loop().time() - began, done)
            return [_well_formed(completion) for completion in done]

        return await self._patiently(attempt)

    async def write(self, request: Request, on_text: Callable[[str], Awaitable[None]]) -> Completion:
        """A streamed completion; `on_text` gets the whole text so far, and begins anew when the engine had to be asked
        again."""

        async def attempt() -> Completion:
            began = asyncio.get_running_loop().time()
            said = ""
            async with aclosing(_closable(self._engine.stream(request))) as deltas:
                async for delta in deltas:
                    if delta.completion is not None:
                        self._spent(asyncio.get_running_loop().time() - began, [delta.completion])
                        return _well_formed(delta.completion)
                    said += delta.text
                    await on_text(_sound(said))
            raise EngineProtocolError("the engine's stream ended without a completion")

        return await self._patiently(attempt)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        async with aclosing(_closable(self._engine.stream(request))) as deltas:
            async for delta in deltas:
                yield delta

    async def window(self) -> int:
        return await self._patiently(self._engine.window)

    async def aclose(self) -> None:
        """The engine outlives the job; nothing to close."""

    def _spent(self, seconds: float, completions: Sequence[Completion]) -> None:
        self.seconds += seconds
        total = sum((completion.usage for completion in completions), Usage())
        self.usage = TokenUsage(
            prompt_tokens=self.usage.prompt_tokens + total.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + total.completion_tokens,
            cached_tokens=self.usage.cached_tokens + total.cached_tokens,
            calls=self.usage.calls + len(completions),
        )
        for kind in ("prompt", "completion", "cached"):
            self._metrics.tokens.labels(kind=kind).inc(getattr(total, f"{kind}_tokens"))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        given_up, pause = loop.time() + self._patience, FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except* EngineError as group:
                error = _first(group)
            self._metrics.engine_errors.labels(error=type(error).__name__).inc()
            if not error.retryable:
                raise error
            asked = error.retry_after if isinstance(error, EngineOverloaded) else None
            wait = max(asked or 0.0, pause * random.uniform(0.5, 1.0))
            if loop.time() + wait > given_up:
                raise JobFailure(
                    Code.ENGINE_UNAVAILABLE, f"the engine stayed away for {self._patience:.0f} s: {error}"
                ) from error
            log.warning(
                "engine_away", extra={"job": self._job, "error": type(error).__name__, "wait_seconds": round(wait, 2)}
            )
            await asyncio.sleep(wait)
            pause = min(LONGEST_PAUSE, pause * 2)


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    """One error of the group; one that retrying cannot help before one that it can."""
    leaves: list[EngineError] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        elif isinstance(error, EngineError):
            leaves.append(error)
    return min(leaves, key=lambda error: error.retryable)


async def _closable(deltas: AsyncIterator[Delta]) -> AsyncGenerator[Delta, None]:
    try:
        async for delta in deltas:
            yield delta
    finally:
        close = getattr(deltas, "aclose", None)
        if close is not None:
            await close()


def _sound(text: str) -> str:
    """The text without lone surrogates, which no JSON or UTF-8 can carry on."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _well_formed(completion: Completion) -> Completion:
    return replace(completion, text=_sound(completion.text), reasoning=_sound(completion.reasoning))
