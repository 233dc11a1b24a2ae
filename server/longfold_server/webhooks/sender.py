"""One delivery: a POST through the guarded network, judged by its status alone. Knows no jobs, no secrets and no
schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import httpcore
import httpx

from longfold_server.errors import DocumentError
from longfold_server.ingest.guard import Blocked
from longfold_server.ingest.location import locate

SECONDS = 15.0
"""For the whole exchange: what the specification gives a receiver at least."""
CONNECT_SECONDS = 5.0
LONGEST_RETRY_AFTER = 24 * 3600.0
USER_AGENT = "longfold-server (webhooks)"


class Outcome(StrEnum):
    """What became of a delivery."""

    SENT = "sent"
    FAILED = "failed"
    """Another attempt may succeed."""
    GONE = "gone"
    """The receiver answered 410: it wants no more."""
    BLOCKED = "blocked"
    """The URL leads where this service does not go."""


FINAL = frozenset({Outcome.SENT, Outcome.GONE, Outcome.BLOCKED})
"""Outcomes after which nothing is tried again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt."""

    outcome: Outcome
    status: int | None = None
    """The receiver's, if it answered."""
    retry_after: float = 0.0
    """Seconds the receiver asks to be left alone."""


class Sender:
    """Posts bodies over `transport`, which decides what may be reached; redirects are failures and are not followed."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Posts `body`; whatever goes wrong is an outcome."""
        try:
            request = httpx.Request(
                "POST",
                locate(url).url,
                headers={
                    "User-Agent": USER_AGENT,
                    "Content-Type": "application/json",
                    "Connection": "close",
                    **headers,
                },
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS, "read": SECONDS, "write": SECONDS, "pool": None}},
            )
            async with asyncio.timeout(SECONDS):
                response = await self._transport.handle_async_request(request)
                await response.aclose()  # its body is of no interest
        except (Blocked, DocumentError):
            return Delivery(Outcome.BLOCKED)
        except (TimeoutError, OSError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            return Delivery(Outcome.FAILED)
        if 200 <= response.status_code < 300:
            return Delivery(Outcome.SENT, response.status_code)
        if response.status_code == 410:
            return Delivery(Outcome.GONE, 410)
        return Delivery(Outcome.FAILED, response.status_code, _retry_after(response))


def _retry_after(response: httpx.Response) -> float:
    asked = response.headers.get("retry-after", "")
    return min(LONGEST_RETRY_AFTER, float(asked[:9])) if asked.isascii() and asked.isdigit() else 0.0
