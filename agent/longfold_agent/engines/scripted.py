"""An engine without a model, for tests: replies from a function, a list or a fixed text. Knows nothing about the
network.

    engine = ScriptedEngine(["first reply", Completion("cut", "length")])
    engine = ScriptedEngine(lambda request: "yes" if "?" in request.prompt.text else "no", latency=0.25)
    engine = ScriptedEngine("same every time", failures={3: EngineOverloaded("queue full")})
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from longfold_agent.engines.gather import gather
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion, Prompt, Usage

Scripted = str | Completion | BaseException
"""One reply: a text, a whole completion, or an exception to raise."""

Script = Scripted | Sequence[Scripted] | Callable[[Request], Scripted | Awaitable[Scripted]]
"""The same reply every time, replies by call number, or a function of the request (plain or async)."""

_WORDS = re.compile(r"\s*\S+\s*\Z|\s*\S+|\s+")


class ScriptedEngine:
    """A `longfold_agent.protocols.Engine` that follows a script.

    script: see `Script`. A list that runs out raises `IndexError`: a test that asks more than it scripted is wrong.
    latency: seconds before each reply (for a stream: spread over its words).
    failures: call number (from 1) -> exception raised instead of that call's reply, before it takes from a list.
    window: what `window()` answers, in tokens.
    count: counts the tokens of a text for usage; words by default.

    A text longer than `sampling.max_tokens` (by `count`) is NOT cut: script a `Completion(..., "length")` for that.
    """

    def __init__(
        self,
        script: Script = "",
        *,
        latency: float = 0.0,
        failures: Mapping[int, BaseException] | None = None,
        window: int = 131_072,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self._script = script
        self._next = 0
        self._latency = latency
        self._failures = dict(failures or {})
        self._window = window
        self._count = count or (lambda text: len(text.split()))
        self.requests: list[Request] = []
        """Every request in the order of arrival, failed and cancelled ones included."""
        self.usage = Usage()
        """Sum over all finished calls."""
        self.active = 0
        """Calls in progress."""
        self.peak = 0
        """Most calls ever in progress at once."""
        self.cancelled = 0
        """Calls dropped by their caller before they finished."""
        self.closed = False

    @property
    def calls(self) -> int:
        """Number of calls so far (each request of a batch counts)."""
        return len(self.requests)

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        return await gather([self._one(request) for request in requests])

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        finished = False
        self._enter()
        try:
            completion = await self._reply(request)
            words = _WORDS.findall(completion.text)
            for word in words:
                await asyncio.sleep(self._latency / len(words))
                yield Delta(word)
            if not words:
                await asyncio.sleep(self._latency)
            self.usage += completion.usage
            finished = True
            yield Delta(completion=completion)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += not finished
            raise
        finally:
            self.active -= 1

    async def window(self) -> int:
        return self._window

    async def aclose(self) -> None:
        self.closed = True

    async def _one(self, request: Request) -> Completion:
        self._enter()
        try:
            completion = await self._reply(request)
            await asyncio.sleep(self._latency)
            self.usage += completion.usage
            return completion
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    def _enter(self) -> None:
        self.active += 1
        self.peak = max(self.peak, self.active)

    async def _reply(self, request: Request) -> Completion:
        self.requests.append(request)
        if (failure := self._failures.get(len(self.requests))) is not None:
            raise failure
        reply = await self._scripted(request)
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, Completion) and reply.usage != Usage():
            return reply
        text = reply if isinstance(reply, str) else reply.text
        usage = Usage(self._count(prompt_text(request.prompt)), self._count(text))
        if isinstance(reply, str):
            return Completion(reply, "stop", usage)
        return replace(reply, usage=usage)

    async def _scripted(self, request: Request) -> Scripted:
        if isinstance(self._script, str | Completion | BaseException):
            return self._script
        if callable(self._script):
            reply = self._script(request)
            return await reply if inspect.isawaitable(reply) else reply
        self._next += 1
        if self._next > len(self._script):
            raise IndexError(f"the script has {len(self._script)} replies; this is one call more")
        return self._script[self._next - 1]


def prompt_text(prompt: Prompt) -> str:
    """All text of a prompt, for counting and for rules that look for words in it."""
    return prompt.text if prompt.text is not None else "\n".join(message.content for message in prompt.messages)
