"""One job's engine calls: waits for an engine that is away, counts usage and time. Is itself an `Engine`. Knows no
prompts and no store."""

from __future__ import annotations

import asyncio
import logging
import math
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
from longfold_server.patience import Patience
from longfold_server.telemetry import Spans, completed

T = TypeVar("T")

log = logging.getLogger(__name__)


class Pulse:
    """When the engine last gave any job of this worker a completion, in the event loop's time."""

    def __init__(self) -> None:
        self.at = -math.inf


class EngineCalls:
    """An `Engine` over another, for one job.

    A retryable error is waited out for up to `patience_seconds` from a call's first failure, then raised as
    `JobFailure` engine_unavailable; an engine that is full but serves others is waited for as long as it does. An error
    that retrying cannot help passes, since the caller may know what to do.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        *,
        patience_seconds: float,
        count: Callable[[str], int],
        job: str = "",
        model: str = "",
        spans: Spans | None = None,
        cache_salt: str = "",
        pulse: Pulse | None = None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._patience = patience_seconds
        self._count_tokens = count
        self._job = job
        self._model = model
        self._spans = spans or Spans()
        self._salt = cache_salt
        self._pulse = pulse or Pulse()
        self.usage = TokenUsage()
        self.seconds = 0.0
        """Time spent in calls that gave a completion; where calls overlap it counts once."""
        self._counted = 0.0
        """Until when time has been counted, by the event loop's clock."""
        self.away = asyncio.Event()
        """Set while all calls under way have been waiting for the engine for some time."""
        self.why = ""
        """The error for which they wait."""
        self._under_way = self._waiting = 0

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        requests = [self._salted(request) for request in requests]

        async def attempt() -> list[Completion]:
            began = asyncio.get_running_loop().time()
            done = await self._engine.complete(requests)
            self._spent("whole", began, done)
            return [_well_formed(completion) for completion in done]

        with self._spans.call(self._model, requests) as span:
            completions = await self._patiently(attempt)
            span.set(completed(completions))
        return completions

    async def write(
        self, request: Request, on_text: Callable[[str], Awaitable[None]], *, prompt_tokens: int
    ) -> Completion:
        """A streamed completion; `on_text` gets the whole text so far, and begins anew when the engine had to be asked
        again.

        The engine tells the usage at the end only. Of a reply that is dropped before, an estimate counts:
        `prompt_tokens`, and our own count of the text that has come. One that the engine broke off costs nothing.
        """
        request = self._salted(request)

        async def attempt() -> Completion:
            began = asyncio.get_running_loop().time()
            said = ""
            try:
                async with aclosing(_closable(self._engine.stream(request))) as deltas:
                    async for delta in deltas:
                        if delta.completion is not None:
                            said = ""
                            self._spent("streamed", began, [delta.completion])
                            return _well_formed(delta.completion)
                        said += _sound(delta.text)  # piece by piece: a long reply has many, and the event loop waits
                        await on_text(said)
                raise EngineProtocolError("the engine's stream ended without a completion")
            except EngineError:
                said = ""
                raise
            finally:
                if said:
                    self._use(Usage(prompt_tokens, self._count_tokens(said)), 1)

        with self._spans.call(self._model, [request]) as span:
            completion = await self._patiently(attempt)
            span.set(completed([completion]))
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        async with aclosing(_closable(self._engine.stream(self._salted(request)))) as deltas:
            async for delta in deltas:
                yield delta

    async def window(self) -> int:
        return await self._patiently(self._engine.window)

    async def aclose(self) -> None:
        """The engine outlives the job; nothing to close."""

    def _salted(self, request: Request) -> Request:
        """vLLM takes `cache_salt` into the hash of a prompt's first block, so only equal salts share a prefix."""
        if not self._salt:
            return request
        extra = {**request.sampling.extra, "cache_salt": self._salt}
        return replace(request, sampling=replace(request.sampling, extra=extra))

    def _spent(self, how: str, began: float, completions: Sequence[Completion]) -> None:
        now = asyncio.get_running_loop().time()
        self.seconds += now - max(began, self._counted)
        self._counted = self._pulse.at = now
        self._metrics.engine_calls.labels(kind=how).inc(len(completions))
        total = sum((completion.usage for completion in completions), Usage())
        self._use(total, len(completions))
        for kind in ("prompt", "completion", "cached"):
            self._metrics.tokens.labels(kind=kind).inc(getattr(total, f"{kind}_tokens"))

    def _use(self, used: Usage, calls: int) -> None:
        self.usage = TokenUsage(
            prompt_tokens=self.usage.prompt_tokens + used.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + used.completion_tokens,
            cached_tokens=self.usage.cached_tokens + used.cached_tokens,
            calls=self.usage.calls + calls,
        )

    def _show(self, why: str) -> None:
        self.why = why or self.why
        self._count(0, 1 if why else -1)

    def _count(self, under_way: int, waiting: int) -> None:
        self._under_way += under_way
        self._waiting += waiting
        if self._waiting and self._waiting == self._under_way:
            self.away.set()
        else:
            self.away.clear()

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        self._count(1, 0)
        try:
            async with Patience(self._patience, self._show) as patience:
                while True:
                    try:
                        return await attempt()
                    except* EngineError as group:
                        error = _first(group)
                    if not await self._rest(patience, error):
                        raise JobFailure(
                            Code.ENGINE_UNAVAILABLE, f"the engine stayed away for {self._patience:.0f} s: {error}"
                        ) from error
        finally:
            self._count(-1, 0)

    async def _rest(self, patience: Patience, error: EngineError) -> bool:
        """Pauses before the next attempt; False when there is none. Raises an error that retrying cannot help."""
        kind = type(error).__name__
        self._metrics.engine_errors.labels(error=kind).inc()
        if not error.retryable:
            raise error
        log.warning("engine_away", extra={"job": self._job, "error": kind})
        if isinstance(error, EngineOverloaded):
            return await patience.rest(kind, wish=error.retry_after or 0.0, served=self._pulse.at)
        return await patience.rest(kind)


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
