"""The SDK against an ASGI app in this process, without a socket: for tests of code that uses longfold, and of
longfold itself.

    async with in_process(create_app(settings)) as client:
        result = await client.answer("...", documents=[{"text": "..."}])

The app's lifespan runs from the first request (or `async with`) until the client is closed, and replies stream piece
by piece, so live events work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, MutableMapping
from typing import Any, Self, TypeAlias, TypeVar

import httpx

from .client import AsyncClient, Client
from .retry import Retry

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application (asgi.readthedocs.io)."""
T = TypeVar("T")

BASE_URL = "http://longfold.test"
"""A name that no resolver knows: nothing can leave the process by mistake."""

logger = logging.getLogger(__name__)


def in_process(app: App, *, api_key: str | None = None, retry: Retry | None = None) -> AsyncClient:
    """An AsyncClient whose requests run `app` on the current event loop."""
    return AsyncClient(BASE_URL, api_key, retry=retry, transport=ASGITransport(app))


def in_process_sync(app: App, *, api_key: str | None = None, retry: Retry | None = None) -> Client:
    """A Client whose requests run `app` on an event loop in a thread of its own, which ends with the client."""
    return Client(BASE_URL, api_key, retry=retry, transport=ThreadedASGITransport(app))


class LifespanFailed(RuntimeError):
    """The app refused to start or to stop; the text is its own."""


class Lifespan:
    """Runs an app's startup and shutdown (ASGI lifespan protocol). An app without lifespan support is fine."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Returns once the app is ready. Raises LifespanFailed."""
        self._task = asyncio.create_task(self._run())
        await self._exchange("startup")

    async def stop(self) -> None:
        """Returns once the app has shut down. Raises LifespanFailed."""
        if self._task is not None:
            if not self._task.done():
                await self._exchange("shutdown")
            await self._task
            self._task = None

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._outbox.put)
            await self._outbox.put({"type": "lifespan.ended"})
        except Exception as error:
            await self._outbox.put({"type": "lifespan.unsupported", "error": error})

    async def _exchange(self, phase: str) -> None:
        await self._inbox.put({"type": f"lifespan.{phase}"})
        reply = await self._outbox.get()
        if reply["type"] == f"lifespan.{phase}.failed":
            raise LifespanFailed(str(reply.get("message") or f"the app failed at its {phase}"))
        if reply["type"] == "lifespan.unsupported":
            logger.debug("the app runs without lifespan", exc_info=reply["error"])


class ASGITransport(httpx.AsyncBaseTransport):
    """An httpx transport over an ASGI app whose replies arrive while the app still writes them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lifespan: Lifespan | None = None
        self._starting = asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Runs the app for one request, up to the reply's headers. An app that raises before them gives 500, as behind
        a real server.
        """
        lifespan = await self._started()
        exchange = Exchange(self._app, request, dict(lifespan.state))
        status, headers = await exchange.begin()
        return httpx.Response(status, headers=headers, stream=exchange)

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def aclose(self) -> None:
        """Shuts the app down."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.stop()

    async def _started(self) -> Lifespan:
        async with self._starting:
            if self._lifespan is None:
                lifespan = Lifespan(self._app)
                await lifespan.start()
                self._lifespan = lifespan
            return self._lifespan


class Exchange(httpx.AsyncByteStream):
    """One request and its reply's body; closing it early tells the app that the client has gone."""

    def __init__(self, app: App, request: httpx.Request, state: dict[str, Any]) -> None:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self._app = app
        self._request = request
        self._state = state
        self._upstream = aiter(request.stream)
        self._sent_all = False
        self._gone = asyncio.Event()
        self._head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._error: Exception | None = None
        self._complete = False
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers of the reply."""
        self._task = asyncio.create_task(self._run())
        try:
            return await self._head
        except BaseException:
            await self.aclose()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if not self._complete:
            raise httpx.RemoteProtocolError(f"the app broke off its reply: {self._error!r}")

    async def aclose(self) -> None:
        """Ends the exchange; the app gets a moment to notice before it is cancelled, as behind a real server."""
        self._gone.set()
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=0.1)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": (url.host, url.port or 80),
            "state": self._state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:
            self._error = error
            if not self._gone.is_set():
                logger.exception("the app raised")
        finally:
            if not self._head.done():
                self._head.set_result((500, [(b"content-type", b"text/plain")]))
                self._complete = True
            if not self._gone.is_set():
                await self._pieces.put(None)

    async def _receive(self) -> Message:
        if self._sent_all:
            await self._gone.wait()
        if self._gone.is_set():
            return {"type": "http.disconnect"}
        piece = await anext(self._upstream, b"")
        self._sent_all = not piece
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            raise OSError("the client has gone")
        if message["type"] == "http.response.start":
            self._head.set_result((message["status"], list(message.get("headers", []))))
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
            if message.get("body"):
                await self._pieces.put(message["body"])


class ThreadedASGITransport(httpx.BaseTransport):
    """`ASGITransport` for blocking callers, on an event loop in a daemon thread."""

    def __init__(self, app: App) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="longfold-in-process", daemon=True)
        self._thread.start()
        self._inner = ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Runs the app for one request, up to the reply's headers."""
        body = request.read()
        forwarded = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        response = self._call(self._inner.handle_async_request(forwarded))
        assert isinstance(response.stream, Exchange)
        stream = ThreadedStream(response.stream, self._call)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)

    def close(self) -> None:
        """Shuts the app down and ends the thread."""
        if self._loop.is_closed():
            return
        try:
            self._call(self._inner.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class ThreadedStream(httpx.SyncByteStream):
    """The blocking side of one Exchange's body."""

    def __init__(self, exchange: Exchange, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._exchange = exchange
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._exchange)

        async def following() -> bytes:
            return await anext(pieces, b"")

        while piece := self._call(following()):
            yield piece

    def close(self) -> None:
        """Ends the exchange."""
        self._call(self._exchange.aclose())
