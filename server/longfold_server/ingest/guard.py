"""Connections that only reach permitted addresses: the name is resolved once, every address is checked, the checked one
is dialled.

SNI, certificate and Host header stay the URL's name, because only the network backend below httpcore's public
connection pool is replaced. Knows no redirects, limits or documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpcore
import httpx

from longfold_server.ingest.addresses import AddressPolicy

Resolve = Callable[[str, int], Awaitable[list[str]]]
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

DIALS = 3
"""Addresses of one name that are tried; more would only stretch the wait."""
LOOKUPS = 32
"""Names looked up at once; the system waits some ten seconds for a name server that is silent."""


class Blocked(httpcore.ConnectError):
    """The policy forbids this address or port. The message names no address."""


class UnknownHost(httpcore.ConnectError):
    """The name does not resolve."""


class Resolver:
    """The system's resolver, in threads of its own: names whose servers are silent, which anybody can have, must not
    hold up the file work that goes through the event loop's threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, "names")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Every address of a name, in the system's order."""
        asked = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, asked)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard(httpcore.AsyncNetworkBackend):
    """Network backend that checks before it connects. `resolver` replaces the system's."""

    def __init__(
        self, policy: AddressPolicy, ports: Collection[int] = (80, 443), resolver: Resolve | None = None
    ) -> None:
        self._policy = policy
        self._ports = frozenset(ports)
        self._resolve = resolver or Resolver()
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Dial one checked address. `timeout` (seconds) covers the look-up and all attempts together."""
        if port not in self._ports:
            raise Blocked(f"port {port} is not among the permitted ones")
        try:
            async with asyncio.timeout(timeout) as clock:
                return await self._dial(await self._checked(host, port), port, socket_options, clock.when())
        except TimeoutError:
            raise httpcore.ConnectTimeout("no connection in time") from None

    async def _checked(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise UnknownHost("its host name is not known") from None
        if not addresses:
            raise UnknownHost("its host name has no address")
        permitted = [self._policy.permit(address) for address in addresses]
        checked = [address for address in permitted if address is not None]
        if len(checked) < len(addresses):
            raise Blocked("its host is not on the public internet")
        return checked

    async def _dial(
        self, addresses: list[str], port: int, socket_options: Iterable[SocketOption] | None, until: float | None
    ) -> httpcore.AsyncNetworkStream:
        """One that never answers (IPv6 where that leads nowhere) leaves the others their share of the time."""
        options = list(socket_options) if socket_options is not None else None
        loop, tried = asyncio.get_running_loop(), addresses[:DIALS]
        for place, address in enumerate(tried):
            others = len(tried) - place - 1
            share = (until - loop.time()) / (others + 1) if until is not None and others else None
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(address, port, timeout=share, socket_options=options)
        raise httpcore.ConnectError("no connection to its host")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise Blocked("unix sockets are not fetched from")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx transport over a guarded pool. HTTP/1.1, no proxies, no environment, every request on a freshly checked
    connection. The callers bound how many there are: waiting here would count as a server's time.

    Raises httpcore's exceptions as they are.
    """

    def __init__(self, guard: Guard, ssl_context: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(trust_env=False),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=guard,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()
