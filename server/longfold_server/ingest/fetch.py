"""Fetches a URL into a file under limits: addresses, ports, redirects, sizes, times. Knows no formats; trusts nothing a
server says.

The transport is called without an httpx client: no cookies, no environment, no automatic redirects, no log lines with
URLs.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpcore
import httpx

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.body import BodyDecoder, Truncated, too_large
from longfold_server.ingest.guard import Blocked, Guard, GuardedTransport, Resolve, UnknownHost, resolve
from longfold_server.ingest.location import Location, locate

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONGEST_RETRY_AFTER = 10.0
"""Seconds of `Retry-After` that are waited for; a longer wish ends the fetch."""
WRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may reach and cost."""

    allow_networks: tuple[str, ...] = ()
    """Networks (CIDR) besides the public internet."""
    ports: tuple[int, ...] = (80, 443)
    """Permitted ports; empty permits every port."""
    max_bytes: int = 200_000_000
    """On the wire and decoded, each."""
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    """Longest silence, and longest wait for the response's headers."""
    total_seconds: float = 300.0
    """Everything together: redirects, retries, body."""
    slow_after_seconds: float = 20.0
    """From when on a body must arrive at `slow_bytes_per_second` on average; frees a worker from a dripping server."""
    slow_bytes_per_second: int = 1024
    redirects: int = 5
    backoff_seconds: tuple[float, ...] = (0.2, 0.8)
    """Before the second and third try: long enough for a restarting server, short beside the time limit."""
    user_agent: str = "longfold-server (document fetcher)"


DEFAULT_LIMITS = FetchLimits()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as it was received, decoded from its Content-Encoding."""

    path: Path
    bytes: int
    sha256: str
    content_type: str
    """The server's header, unchecked; "" without one."""
    location: Location
    """Where it was found after redirects."""


class _TryAgain(Exception):
    """A failure that may pass. `error` is what to report when it does not."""

    def __init__(self, error: DocumentError, after: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.after = after


class Fetcher:
    """Fetches documents; one per process, closed with `aclose`. `resolver` replaces the system's name look-up."""

    def __init__(
        self,
        limits: FetchLimits = DEFAULT_LIMITS,
        *,
        resolver: Resolve = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits
        guard = Guard(AddressPolicy(limits.allow_networks), limits.ports, resolver)
        self._transport = transport or GuardedTransport(guard)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def fetch(self, url: str, target: Path, authorization: str | None = None) -> Fetched:
        """Write the document at `url` into the file `target`.

        `authorization` is sent to the URL's own origin only. Raises `DocumentError`; `target` is then left to the
        caller.
        """
        location = locate(url)
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                return await self._with_retries(location, target, authorization)
        except TimeoutError:
            raise _timeout(f"it was not complete after {self._limits.total_seconds:g} s") from None

    async def _with_retries(self, location: Location, target: Path, authorization: str | None) -> Fetched:
        for pause in (*self._limits.backoff_seconds, None):
            try:
                return await self._follow(location, target, authorization)
            except _TryAgain as failure:
                if pause is None or failure.after > LONGEST_RETRY_AFTER:
                    raise failure.error from None
                await asyncio.sleep(max(pause, failure.after))
        raise AssertionError("unreachable")

    async def _follow(self, location: Location, target: Path, authorization: str | None) -> Fetched:
        origin = location.origin
        for _ in range(self._limits.redirects + 1):
            headers = {"Authorization": authorization} if authorization and location.origin == origin else {}
            async with self._response(location, headers) as response:
                if response.status_code not in REDIRECTS:
                    _check_status(response)
                    return await self._receive(response, location, target)
                # Servers put raw UTF-8 into Location although RFC 9110 wants ASCII.
                next_url = next((value for name, value in response.headers.raw if name.lower() == b"location"), b"")
            if not next_url:
                raise DocumentError(Code.DOCUMENT_HTTP_ERROR, "the server redirects without saying where to")
            location = locate(next_url.decode("utf-8", "replace"), base=location)
        raise DocumentError(
            Code.DOCUMENT_HTTP_ERROR, f"it redirects more than {self._limits.redirects} times; give the final URL"
        )

    @asynccontextmanager
    async def _response(self, location: Location, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        limits = self._limits
        timeout = {
            "connect": limits.connect_seconds,
            "read": limits.read_seconds,
            "write": limits.read_seconds,
            "pool": None,
        }
        request = httpx.Request(
            "GET",
            location.url,
            headers={
                "User-Agent": limits.user_agent,
                "Accept": "text/html, text/plain, text/*;q=0.9, */*;q=0.5",
                "Accept-Encoding": "gzip, deflate",
                "Connection": "close",
                **headers,
            },
            extensions={"timeout": timeout},
        )
        waiting = asyncio.timeout(limits.connect_seconds + limits.read_seconds)
        try:
            async with waiting:
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            if not waiting.expired():
                raise
            raise _timeout("the server did not answer in time") from None
        except Blocked as error:
            raise DocumentError(
                Code.DOCUMENT_BLOCKED,
                f"{error}, so it is not fetched; upload it, or ask the operator to allow that network or port",
            ) from None
        except UnknownHost as error:
            raise DocumentError(Code.DOCUMENT_UNREACHABLE, f"{error}; check the URL") from None
        except httpcore.TimeoutException:
            raise _timeout("the server did not answer in time") from None
        except httpcore.ConnectError as error:
            tls = (
                isinstance(error.__cause__ or error.__context__, OSError)
                and "SSL" in type(error.__cause__ or error.__context__).__name__
            )
            if tls or "certificate" in str(error).lower() or "SSL" in str(error):
                raise DocumentError(
                    Code.DOCUMENT_UNREACHABLE, "its server has no valid TLS certificate for this name; check the URL"
                ) from None
            raise _TryAgain(_unreachable("its server does not accept connections")) from None
        except (httpcore.NetworkError, httpcore.RemoteProtocolError):
            raise _TryAgain(_unreachable("its server ended the connection without a valid HTTP answer")) from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            raise DocumentError(Code.DOCUMENT_INVALID, "its URL cannot be asked for over HTTP") from None
        try:
            yield response
        finally:
            await response.aclose()

    async def _receive(self, response: httpx.Response, location: Location, target: Path) -> Fetched:
        limits = self._limits
        announced = response.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limits.max_bytes:
            raise too_large(limits.max_bytes)
        decoder = BodyDecoder(response.headers.get("content-encoding", ""), limits.max_bytes)
        sink = await asyncio.to_thread(FileSink, target)
        began = time.monotonic()
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            async for data in response.stream:
                for piece in decoder.feed(data):
                    await sink.write(piece)
                elapsed = time.monotonic() - began
                if elapsed > limits.slow_after_seconds and decoder.wire < limits.slow_bytes_per_second * elapsed:
                    raise _timeout(f"it arrives at less than {limits.slow_bytes_per_second:,} bytes per second")
            decoder.finish()
        except httpcore.TimeoutException:
            raise _timeout(f"nothing arrived for {limits.read_seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.RemoteProtocolError, Truncated):
            raise _TryAgain(_unreachable("the connection ended before the whole document had arrived")) from None
        finally:
            await sink.aclose()
        return Fetched(target, sink.bytes, sink.sha256, response.headers.get("content-type", ""), location)


class FileSink:
    """Writes and hashes pieces off the event loop, about a megabyte at a time."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self.bytes = 0

    async def write(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self._waiting += piece
        if len(self._waiting) >= WRITE_BYTES:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        self._digest.update(self._waiting)
        self._file.write(self._waiting)
        self._waiting.clear()

    def close(self) -> None:
        with self._file:
            self._flush()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (404, 410):
        raise DocumentError(
            Code.DOCUMENT_NOT_FOUND, f"the server says there is no such page (HTTP {status}); check the URL"
        )
    if status in (204, 205):
        raise DocumentError(Code.DOCUMENT_EMPTY, f"the server answered without content (HTTP {status})")
    if status in (401, 403, 407):
        why = f"the server refuses access (HTTP {status}); download the document and upload it"
    else:
        why = f"the server answered with HTTP {status}"
    error = DocumentError(Code.DOCUMENT_HTTP_ERROR, why)
    if status == 429 or status >= 500:
        after = response.headers.get("retry-after", "")
        raise _TryAgain(error, float(after[:9]) if after.isascii() and after.isdigit() else 0.0)
    raise error


def _unreachable(why: str) -> DocumentError:
    return DocumentError(Code.DOCUMENT_UNREACHABLE, f"{why}; check the URL or try again later")


def _timeout(why: str) -> DocumentError:
    return DocumentError(Code.DOCUMENT_TIMEOUT, f"{why}; try again later or upload the file")
