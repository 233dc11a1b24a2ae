"""Performs a plan's effects over httpx, once blocking and once async; decides nothing itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Generic, TypeVar

import httpx

from .effects import Effect, Emit, Lost, Open, Pause, Plan, Read, Reply, Request, Send
from .upload import Upload

T = TypeVar("T")


class Drive(Generic[T]):
    """One blocking run of one plan. Iterate it for the emitted items; afterwards `value` is the plan's result."""

    value: T

    def __init__(self, http: httpx.Client, plan: Plan[T]) -> None:
        self._http = http
        self._plan = plan
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def __iter__(self) -> Generator[Any, None, None]:
        outcome: Any = None
        lost: Lost | None = None
        try:
            while True:
                try:
                    effect = advance(self._plan, outcome, lost)
                except StopIteration as done:
                    self.value = done.value
                    return
                outcome = lost = None
                if isinstance(effect, Emit):
                    yield effect.item
                    continue
                started = time.monotonic()
                try:
                    outcome = self._perform(effect)
                except httpx.RequestError as error:
                    lost = Lost(reason(error), time.monotonic() - started)
        finally:
            self._close()
            self._plan.close()

    def _perform(self, effect: Send | Open | Read | Pause) -> Reply | bytes | None:
        if isinstance(effect, Pause):
            time.sleep(effect.seconds)
            return None
        if isinstance(effect, Read):
            return next(self._pieces, b"")
        started = time.monotonic()
        request = self._build(effect.request)
        if isinstance(effect, Send):
            response = self._http.send(request)
            return as_reply(response, response.content, started)
        self._close()
        response = self._response = self._http.send(request, stream=True)
        if response.status_code == 200:
            self._pieces = response.iter_bytes()
            return as_reply(response, b"", started)
        return as_reply(response, response.read(), started)

    def _build(self, request: Request) -> httpx.Request:
        body = request.body.pieces() if isinstance(request.body, Upload) else request.body
        return build(self._http, request, body)

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class AsyncDrive(Generic[T]):
    """One async run of one plan. Iterate it for the emitted items; afterwards `value` is the plan's result."""

    value: T

    def __init__(self, http: httpx.AsyncClient, plan: Plan[T]) -> None:
        self._http = http
        self._plan = plan
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        outcome: Any = None
        lost: Lost | None = None
        try:
            while True:
                try:
                    effect = advance(self._plan, outcome, lost)
                except StopIteration as done:
                    self.value = done.value
                    return
                outcome = lost = None
                if isinstance(effect, Emit):
                    yield effect.item
                    continue
                started = time.monotonic()
                try:
                    outcome = await self._perform(effect)
                except httpx.RequestError as error:
                    lost = Lost(reason(error), time.monotonic() - started)
        finally:
            self._plan.close()
            await self._close()

    async def _perform(self, effect: Send | Open | Read | Pause) -> Reply | bytes | None:
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return None
        if isinstance(effect, Read):
            return await anext(self._pieces, b"") if self._pieces is not None else b""
        started = time.monotonic()
        request = self._build(effect.request)
        if isinstance(effect, Send):
            response = await self._http.send(request)
            return as_reply(response, response.content, started)
        await self._close()
        response = self._response = await self._http.send(request, stream=True)
        if response.status_code == 200:
            self._pieces = response.aiter_bytes()
            return as_reply(response, b"", started)
        return as_reply(response, await response.aread(), started)

    def _build(self, request: Request) -> httpx.Request:
        body = in_thread(request.body.pieces()) if isinstance(request.body, Upload) else request.body
        return build(self._http, request, body)

    async def _close(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response = None


def advance(plan: Plan[Any], outcome: Any, lost: Lost | None) -> Effect:
    """The plan's next effect, given how the last one ended."""
    return plan.send(outcome) if lost is None else plan.throw(lost)


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking iterator read in a thread, so that a slow disk does not hold the event loop."""
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def build(http: httpx.Client | httpx.AsyncClient, request: Request, body: Any) -> httpx.Request:
    """An httpx request with its own read timeout."""
    timeout = http.timeout
    if request.read_timeout is not None:
        timeout = httpx.Timeout(
            connect=timeout.connect, read=request.read_timeout, write=timeout.write, pool=timeout.pool
        )
    return http.build_request(
        request.method,
        request.path.lstrip("/"),
        params=dict(request.params) or None,
        headers=dict(request.headers),
        content=body,
        timeout=timeout,
    )


def as_reply(response: httpx.Response, body: bytes, started: float) -> Reply:
    """An httpx response without httpx."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body, time.monotonic() - started)


def reason(error: httpx.RequestError) -> str:
    """Why nothing came, for people: httpx leaves some of its errors without words."""
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.ReadTimeout):
        return "no reply in time"
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ConnectError) and "refused" in str(error).lower():
        return "connection refused"
    if isinstance(error, httpx.ConnectError) and str(error) == "All connection attempts failed":
        return "connection refused or no route"
    return str(error).rstrip(".") or f"the connection broke ({type(error).__name__})"
