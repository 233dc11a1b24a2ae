"""The HTTP client of an engine's replicas, its time limits, and its errors as ours. Knows no requests or replies."""

from __future__ import annotations

import asyncio
import socket

import httpx

from longfold_agent.errors import EngineError, EngineProtocolError, EngineTimeout, EngineUnavailable

CONNECTIONS = 2048
"""Enough for every worker of a process; the server's queue is the place to wait."""
KEEPALIVE_SECONDS = 3.0
"""Below the 5 s after which vLLM's web server closes an idle connection, so that no request meets a closing one."""
SILENT_HOST: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), seconds)
    for name, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]
"""Socket options by which a host that vanished (power, network) ends its connections after about 30 s: a read may
rightly be silent for minutes, so only the kernel can tell."""


def client(api_key: str, timeout: float, connect_timeout: float) -> httpx.AsyncClient:
    """A client that reads nothing from the environment. `timeout`, `connect_timeout` in seconds."""
    transport = httpx.AsyncHTTPTransport(
        limits=httpx.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS
        ),
        socket_options=SILENT_HOST,
        trust_env=False,
    )
    return httpx.AsyncClient(
        timeout=httpx.Timeout(timeout, connect=connect_timeout, pool=None),
        transport=transport,
        headers={"accept-encoding": "identity"} | ({"authorization": f"Bearer {api_key}"} if api_key else {}),
        trust_env=False,
    )


class Deadline:
    """Ends what is inside at a loop time and translates the HTTP client's errors into ours. `where` names the
    endpoint."""

    def __init__(self, where: str, ends: float) -> None:
        self._where = where
        self._limit = asyncio.timeout_at(ends)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._limit.__aexit__(kind, error, None)
        except TimeoutError:
            raise EngineTimeout(f"{self._where}: no reply in time") from None
        if isinstance(error, EngineError):
            return
        if isinstance(error, httpx.TimeoutException):
            raise EngineTimeout(f"{self._where}: {type(error).__name__}") from error
        if isinstance(error, httpx.TransportError):
            raise EngineUnavailable(f"{self._where}: {type(error).__name__}{_reason(error)}") from error
        if isinstance(error, httpx.HTTPError):
            raise EngineProtocolError(f"{self._where}: {type(error).__name__}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f" ({text})" if text else ""


def base(url: str) -> str:
    """A base URL without `/v1`. Raises `ValueError` for what is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"an engine's base URL is http://host:port or https://host, not {url!r}")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def where(url: str) -> str:
    """`host:port` of a base URL, for messages and labels."""
    parsed = httpx.URL(url)
    return f"{parsed.host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}"
