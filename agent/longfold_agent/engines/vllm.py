"""The engine for vLLM and every server that speaks its OpenAI-compatible API. Knows no prompts, profiles or
documents."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

import httpx

from longfold_agent.engines import wire
from longfold_agent.engines.connection import Deadline, base, client, where
from longfold_agent.engines.endpoints import Circuit, Endpoint, Endpoints
from longfold_agent.engines.gather import gather
from longfold_agent.engines.retry import Retry
from longfold_agent.errors import (
    ContextOverflow,
    EngineError,
    EngineProtocolError,
    EngineRejected,
    EngineUnavailable,
)
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion

PROBE_SECONDS = 2.0
"""How long a replica that was down may take to say that it is well."""
REACH_SECONDS = 1.5
"""How long a replica may take to say that it can be reached; below the two seconds of most probes."""
REACHED_SECONDS = 5.0
"""How long the answer to that is good."""
DRAIN_SECONDS = 0.5
"""How long a stream may take to end after `[DONE]`."""
ERROR_BYTES = 65_536
"""How much of an error body is read."""
REPLY_BYTES = 64 * 2**20
"""Longest reply that is taken; per-token ids and logprobs of 100,000 tokens are a third of it."""


class VLLMEngine:
    """A `longfold_agent.protocols.Engine` over one or several replicas of one model.

    base_urls: one URL or several, with or without `/v1`.
    model: the served name; "" for the only one served.
    api_key: sent as a bearer token; never in messages.
    affinity_header: name of the one header that carries `Request.affinity` to a router (`x-session-token`, ...); ""
    for none.
    timeout: seconds for one attempt at a reply, streamed or not. connect_timeout: seconds to connect.
    retry_seconds: no new attempt begins later than this after the call; 0 tries each endpoint once.
    threshold: failures in a row that open an endpoint's circuit. pause: most seconds it then stays open; grows to ten
    times that.
    on_circuit: told a base URL and its state at the start and whenever its circuit opens or closes.
    clock, sleep, jitter: monotonic seconds, the wait between rounds, uniform numbers in [0, 1); for tests.

    A call goes to the endpoint that its affinity prefers, on connection failure or overload to the next in that key's
    order, then again after a growing pause. An endpoint whose circuit is open is not asked; when its pause is over, the
    next call asks its /health first. A stream is retried only until its first text. Cancelling a call closes its
    connection at once. A reply that the server cut short, also by silently clamping max_tokens to the window, has
    finish_reason "length".
    """

    def __init__(
        self,
        base_urls: str | Sequence[str],
        *,
        model: str = "",
        api_key: str = "",
        affinity_header: str = "",
        timeout: float = 600.0,
        connect_timeout: float = 5.0,
        retry_seconds: float = 60.0,
        threshold: int = 3,
        pause: float = 1.0,
        on_circuit: Callable[[str, Circuit], None] = lambda url, state: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        urls = [base(url) for url in ([base_urls] if isinstance(base_urls, str) else base_urls)]
        self._endpoints = Endpoints(
            urls,
            clock=clock,
            jitter=jitter,
            threshold=threshold,
            pause=pause,
            longest_pause=10 * pause,
            on_circuit=on_circuit,
        )
        self._model = model
        self._api_key = api_key
        self._affinity_header = affinity_header
        self._timeout = timeout
        self._retry = Retry(retry_seconds, clock, sleep, jitter)
        self._models: dict[str, dict[str, int | None]] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._reaching = asyncio.Lock()
        self._reached_until = -math.inf
        self._unreached: EngineError | None = None
        self._client = client(api_key, timeout, connect_timeout)

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        return await gather([self._complete(request) for request in requests])

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        failures: list[EngineError] = []
        begun = False
        async with aclosing(self._attempts(request.affinity, failures)) as attempts:
            async for endpoint in attempts:
                try:
                    async with aclosing(self._stream_once(endpoint, request)) as deltas:
                        async for delta in deltas:
                            begun = True
                            yield delta
                    return
                except EngineError as failure:
                    if begun or not failure.retryable:
                        raise
                    failures.append(failure)

    async def window(self) -> int:
        """The smallest max_model_len of the endpoints that answer, or have answered before. Raises `EngineRejected`
        for a model that is not served. Whoever asks regularly finds endpoints well again that no call needs."""
        rounds = self._retry.begin()
        while True:
            known = [endpoint for endpoint in self._endpoints.all if endpoint.url in self._models]
            asked = {*self._endpoints.usable(""), *known}
            answers = await asyncio.gather(*map(self._window_of, asked), return_exceptions=True)
            failures = [answer for answer in answers if isinstance(answer, BaseException)]
            for failure in failures:
                if not isinstance(failure, EngineError) or not failure.retryable:
                    raise failure
            windows = [answer for answer in answers if isinstance(answer, int)]
            if windows:
                return min(windows)
            told = [failure for failure in failures if isinstance(failure, EngineError)]
            await rounds.rest(told or [self._endpoints.away()])

    async def reach(self) -> None:
        """Whether an endpoint answers now, or did some seconds ago; asks every endpoint's /health, whatever its
        circuit. Raises `EngineError` when none does."""
        async with self._reaching:
            if self._clock() >= self._reached_until:
                self._unreached = await self._reach()
                self._reached_until = self._clock() + REACHED_SECONDS
        if self._unreached is not None:
            raise EngineUnavailable(f"no replica answers; last: {self._unreached}") from self._unreached

    async def aclose(self) -> None:
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        await self._client.aclose()

    async def _complete(self, request: Request) -> Completion:
        failures: list[EngineError] = []
        async with aclosing(self._attempts(request.affinity, failures)) as attempts:
            async for endpoint in attempts:
                try:
                    return await self._complete_once(endpoint, request)
                except EngineError as failure:
                    if not failure.retryable:
                        raise
                    failures.append(failure)
        raise EngineUnavailable("no endpoint answered")

    async def _attempts(self, affinity: str, failures: list[EngineError]) -> AsyncGenerator[Endpoint, None]:
        """Endpoints to try, round after round; the caller adds each failure. Raises the last one when the time is
        over; the first round is never cut short."""
        rounds = self._retry.begin()
        while True:
            this_round = len(failures)
            for endpoint in self._endpoints.usable(affinity):
                if this_round and rounds.over():
                    raise failures[-1]
                try:
                    await self._well(endpoint)
                except EngineError as failure:
                    failures.append(failure)
                    continue
                yield endpoint
            if len(failures) == this_round:
                failures.append(self._endpoints.away())
            await rounds.rest(failures[this_round:])

    async def _well(self, endpoint: Endpoint) -> None:
        """Asks an endpoint that was down whether it is well. Raises `EngineError` when it is not."""
        if not self._endpoints.half_open(endpoint):
            return
        with self._endpoints.probe(endpoint):
            await self._ask_health(endpoint, PROBE_SECONDS)
        self._models.pop(endpoint.url, None)  # what comes back may serve another model

    async def _ask_health(self, endpoint: Endpoint, seconds: float) -> None:
        at = where(endpoint.url)
        async with self._deadline(at, asyncio.get_running_loop().time() + seconds):
            response, data = await self._fetch(self._client.build_request("GET", endpoint.url + "/health"), at)
        # vLLM says 503 when its engine died. A server without /health says 404, and lives.
        if response.status_code >= 500:
            raise self._refusal(response, data, at, None)

    async def _reach(self) -> EngineError | None:
        """None as soon as one endpoint is well, else the last error."""
        asked = [asyncio.create_task(self._ask_health(endpoint, REACH_SECONDS)) for endpoint in self._endpoints.all]
        last: EngineError | None = None
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    await answer
                    return None
                except EngineError as failure:
                    last = failure
            return last
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _try_well(self, endpoint: Endpoint) -> None:
        with suppress(EngineError):
            await self._well(endpoint)

    async def _complete_once(self, endpoint: Endpoint, request: Request) -> Completion:
        at = where(endpoint.url)
        with self._endpoints.trial(endpoint):
            async with self._deadline(at):
                model = await self._model_of(endpoint)
                response, data = await self._fetch(self._message(endpoint, request, model, stream=False), at)
                if response.status_code != 200:
                    raise await self._refused(endpoint, request, model, response, data)
            reply = wire.Reply(request, at)
            reply.add(data)
            return reply.completion()

    async def _stream_once(self, endpoint: Endpoint, request: Request) -> AsyncGenerator[Delta, None]:
        at = where(endpoint.url)
        with self._endpoints.trial(endpoint):
            ends = asyncio.get_running_loop().time() + self._timeout
            async with self._deadline(at, ends):
                model = await self._model_of(endpoint)
                message = self._message(endpoint, request, model, stream=True)
                response = await self._client.send(message, stream=True)
            try:
                if response.status_code != 200:
                    async with self._deadline(at, ends):
                        data = await _body(response, at)
                        raise await self._refused(endpoint, request, model, response, data)
                reply = wire.Reply(request, at)
                async with aclosing(self._events(response, at, ends)) as events:
                    async for event in events:
                        text = reply.add(event)
                        if text:
                            yield Delta(text)
                yield Delta(completion=reply.completion())
            finally:
                await response.aclose()

    async def _events(self, response: httpx.Response, at: str, ends: float) -> AsyncGenerator[bytes, None]:
        """Data of the server-sent events up to `[DONE]`. Lines are split as bytes: the data may hold other line ends
        of Unicode."""
        parts = aiter(response.aiter_bytes())
        rest = b""
        size = 0
        while True:
            async with self._deadline(at, ends):
                part = await anext(parts, None)
            if part is None:
                raise EngineProtocolError(f"{at}: the stream ended without [DONE]")
            size += len(part)
            _check_size(size, at)
            *lines, rest = (rest + part).split(b"\n") if b"\n" in part else (rest + part,)
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    await self._drain(parts)
                    return
                yield data

    async def _drain(self, parts: AsyncIterator[bytes]) -> None:
        """Reads the end of a finished stream, so that its connection can serve the next request; not worth a
        failure."""
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in parts:
                    pass

    async def _window_of(self, endpoint: Endpoint) -> int:
        at = where(endpoint.url)
        if endpoint.url in self._models:  # what is known is told at once; a probe may take its time
            if self._endpoints.half_open(endpoint):
                probe = asyncio.create_task(self._try_well(endpoint))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
            model = await self._model_of(endpoint, check=True)
        else:
            await self._well(endpoint)
            with self._endpoints.trial(endpoint):
                async with self._deadline(at):
                    model = await self._model_of(endpoint, check=True)
        window = self._models[endpoint.url][model]
        if not isinstance(window, int) or window < 1:
            raise EngineRejected(f"{at}: does not tell max_model_len of {model!r}")
        return window

    async def _model_of(self, endpoint: Endpoint, check: bool = False) -> str:
        """The model's name at an endpoint. Asks for the served ones once, when there is no name or it is to be
        checked."""
        if self._model and not check:
            return self._model
        at = where(endpoint.url)
        if endpoint.url not in self._models:
            response, data = await self._fetch(self._client.build_request("GET", endpoint.url + "/v1/models"), at)
            if response.status_code != 200:
                raise self._refusal(response, data, at, None)
            self._models[endpoint.url] = wire.served_models(data, at)
        served = self._models[endpoint.url]
        if self._model in served:
            return self._model
        if self._model or len(served) != 1:
            names = ", ".join(sorted(served)) or "none"
            why = f"model {self._model!r} is not served" if self._model else "a model must be named"
            raise EngineRejected(f"{at}: {why}; served: {names}")
        return next(iter(served))

    async def _refused(
        self, endpoint: Endpoint, request: Request, model: str, response: httpx.Response, data: bytes
    ) -> EngineError:
        """The error of a completion that `model` was asked for and that was refused. Where the endpoint seems to serve
        another model or window than is known, that is forgotten; a call that named no model may then be made again."""
        at = where(endpoint.url)
        error = self._refusal(response, data, at, request)
        known = self._models.get(endpoint.url, {}).get(model)
        resized = isinstance(error, ContextOverflow) and error.window is not None and error.window != known
        if response.status_code == 404 or resized:
            self._models.pop(endpoint.url, None)
        if response.status_code == 404 and not self._model and await self._model_of(endpoint) != model:
            return EngineUnavailable(f"{at}: serves another model than before")
        return error

    def _message(self, endpoint: Endpoint, request: Request, model: str, *, stream: bool) -> httpx.Request:
        content = wire.body(request, model, stream=stream)
        url = endpoint.url + wire.path(request)
        return self._client.build_request("POST", url, content=content, headers=self._headers(request))

    async def _fetch(self, message: httpx.Request, at: str) -> tuple[httpx.Response, bytes]:
        """A response and its body."""
        response = await self._client.send(message, stream=True)
        try:
            return response, await _body(response, at)
        finally:
            await response.aclose()

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"content-type": "application/json"} | dict(request.headers)
        if self._affinity_header and request.affinity:
            key = request.affinity
            plain = key.isascii() and key.isprintable() and len(key) <= 256 and key == key.strip()
            hashed = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            headers[self._affinity_header] = key if plain else hashed
        return headers

    def _refusal(self, response: httpx.Response, data: bytes, at: str, request: Request | None) -> EngineError:
        if self._api_key:
            data = data.replace(self._api_key.encode(), b"***")
        retry_after = response.headers.get("retry-after")
        return wire.error(response.status_code, data, retry_after, at, time.time(), request)

    def _deadline(self, at: str, ends: float | None = None) -> Deadline:
        return Deadline(at, asyncio.get_running_loop().time() + self._timeout if ends is None else ends)


async def _body(response: httpx.Response, at: str) -> bytes:
    """A response's body, of an error no more than its beginning."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        _check_size(len(data), at)
        if response.status_code != 200 and len(data) > ERROR_BYTES:
            break
    return bytes(data)


def _check_size(size: int, at: str) -> None:
    """An endpoint that sends for ever must not take the memory of a worker that serves others."""
    if size > REPLY_BYTES:
        raise EngineProtocolError(f"{at}: a reply of more than {REPLY_BYTES // 2**20} MiB")
