"""Fetches http and https URLs: redirects, retries, broken transfers, conditional requests. Knows no formats; trusts
nothing a server says.

The transport is called without an httpx client: no cookies, no environment, no automatic redirects, no log lines with
URLs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import httpx

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.body import Truncated
from longfold_server.ingest.credentials import Credentials
from longfold_server.ingest.fetched import Fetched, FetchLimits, Known, Unchanged
from longfold_server.ingest.guard import Blocked, UnknownHost
from longfold_server.ingest.hosts import Hosts
from longfold_server.ingest.location import Location, locate
from longfold_server.ingest.transfer import Transfer

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONGEST_RETRY_AFTER = 10.0
"""Seconds of `Retry-After` that are waited for; a longer wish ends the fetch."""
BROKEN = "the connection ended before the whole document had arrived"
MOST_RESUMPTIONS = 30
"""Of one transfer, each after at least one new byte; the time limit counts too."""


class _TryAgain(Exception):
    """A failure that may pass. `error` is what to report when it does not."""

    def __init__(self, error: DocumentError, after: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.after = after


class Web:
    """Fetches over one transport; `hosts` gives the turns."""

    def __init__(self, limits: FetchLimits, transport: httpx.AsyncBaseTransport, hosts: Hosts) -> None:
        self._limits = limits
        self._transport = transport
        self._hosts = hosts

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def fetch(
        self, location: Location, target: Path, credentials: Credentials, known: Known
    ) -> Fetched | Unchanged:
        """Writes the document at `location` into `target`; or nothing, when its server says that it is as it was
        `known`. Raises `DocumentError`."""
        transfer, clock = Transfer(target, self._limits.max_bytes), asyncio.timeout(self._limits.total_seconds)
        try:
            async with clock:
                one = _Fetch(self._limits, self._transport, self._hosts, transfer, clock)
                return await one.run(location, credentials, known)
        except TimeoutError:
            if not clock.expired():
                raise
            raise _timeout(f"it was not complete after {self._limits.total_seconds:g} s") from None
        finally:
            await transfer.aclose()


class _Fetch:
    """The fetch of one document."""

    def __init__(
        self,
        limits: FetchLimits,
        transport: httpx.AsyncBaseTransport,
        hosts: Hosts,
        transfer: Transfer,
        clock: asyncio.Timeout,
    ) -> None:
        self._limits = limits
        self._transport = transport
        self._hosts = hosts
        self._transfer = transfer
        self._clock = clock

    async def run(self, location: Location, credentials: Credentials, known: Known) -> Fetched | Unchanged:
        """Tries until it is here, or gets no further."""
        pauses, failures, resumptions, reached = self._limits.backoff_seconds, 0, 0, 0
        while True:
            try:
                # What a redirect led to may be signed for a short time, so a part is asked for where it came from.
                if self._transfer.kept and self._transfer.location is not None:
                    return await self._rest(self._transfer.location, credentials)
                return await self._whole(location, credentials, known)
            except _TryAgain as failure:
                further, reached = self._transfer.kept > reached, max(reached, self._transfer.kept)
                failures, resumptions = (1, resumptions + 1) if further else (failures + 1, resumptions)
                spent = failures > len(pauses) or resumptions > MOST_RESUMPTIONS
                if spent or failure.after > LONGEST_RETRY_AFTER:
                    raise failure.error from None
                await asyncio.sleep(max(pauses[failures - 1], failure.after))

    async def _whole(self, location: Location, credentials: Credentials, known: Known) -> Fetched | Unchanged:
        for _ in range(self._limits.redirects + 1):
            validators = await known(str(location.url))
            headers = credentials.of(location) | validators.headers
            async with self._response(location, headers) as response:
                if response.status_code == 304 and validators:
                    return Unchanged(str(location.url))
                if response.status_code not in REDIRECTS:
                    _check_status(response)
                    return await self._receive(response, location)
                # Servers put raw UTF-8 into Location although RFC 9110 wants ASCII.
                next_url = next((value for name, value in response.headers.raw if name.lower() == b"location"), b"")
            if not next_url:
                raise DocumentError(Code.DOCUMENT_HTTP_ERROR, "the server redirects without saying where to")
            location = locate(next_url.decode("utf-8", "replace"), base=location)
        raise DocumentError(
            Code.DOCUMENT_HTTP_ERROR, f"it redirects more than {self._limits.redirects} times; give the final URL"
        )

    async def _rest(self, location: Location, credentials: Credentials) -> Fetched:
        """What is missing of a broken transfer. A server that does not go on exactly there begins anew."""
        async with self._response(location, credentials.of(location) | self._transfer.headers) as response:
            if response.status_code == 206 and self._transfer.continues(response):
                return await self._body(response, location)
            if response.status_code == 200:
                return await self._receive(response, location)
        await self._transfer.forget()
        raise _TryAgain(_unreachable(BROKEN))

    async def _receive(self, response: httpx.Response, location: Location) -> Fetched:
        await self._transfer.begin(response, location)
        return await self._body(response, location)

    async def _body(self, response: httpx.Response, location: Location) -> Fetched:
        limits, transfer = self._limits, self._transfer
        began, before = time.monotonic(), transfer.wire
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            async for data in response.stream:
                await transfer.take(data)
                elapsed = time.monotonic() - began
                slow = transfer.wire - before < limits.slow_bytes_per_second * elapsed
                if elapsed > limits.slow_after_seconds and slow:
                    raise _timeout(f"it arrives at less than {limits.slow_bytes_per_second:,} bytes per second")
            await transfer.finish()
        except httpcore.TimeoutException:
            raise _timeout(f"nothing arrived for {limits.read_seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.RemoteProtocolError):
            raise _TryAgain(_unreachable(BROKEN)) from None
        except Truncated:  # all that was announced is here, and the end of its compression is not
            await transfer.forget()
            raise _TryAgain(_unreachable(BROKEN)) from None
        return Fetched(transfer.decoded, transfer.sha256, transfer.content_type, str(location.url), transfer.validators)

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
        async with self._turn(location):
            response = await self._answer(lambda: self._transport.handle_async_request(request))
            try:
                yield response
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _turn(self, location: Location) -> AsyncIterator[None]:
        """A turn at the host; waiting for it does not count as time of the fetch."""
        end, loop = self._clock.when(), asyncio.get_running_loop()
        began = loop.time()
        self._clock.reschedule(None)
        async with self._hosts.turn(f"{location.url.host}:{location.port}"):
            self._clock.reschedule(None if end is None else end + loop.time() - began)
            yield

    async def _answer(self, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        waiting = asyncio.timeout(self._limits.connect_seconds + self._limits.read_seconds)
        try:
            async with waiting:
                return await ask()
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
        why = (
            f"the server refuses access (HTTP {status}); name credentials for it, or download the document and "
            "upload it"
        )
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
