"""What a plan may ask of the outside world, as plain values; knows no HTTP library, no clock and no event loop.

A plan is a generator that yields effects and is sent their outcomes; `drive.py` performs them, blocking or async. So
every decision of this package is
written once and tested without a socket.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from .upload import Upload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, relative to the base URL."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Upload | None = None
    read_timeout: float | None = None
    """Seconds without a byte before the connection counts as lost; None = the client's `timeout`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply; `headers` have lower-case names, `body` is empty while a stream is still open."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    seconds: float = 0.0
    """From the request's first byte to the reply's last."""


class Lost(Exception):
    """Thrown into a plan: no (complete) reply arrived. Its text says why."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds
        """How long it was waited for."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request, read the whole reply -> Reply. May throw Lost."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; on 200 keep the body open for Read, else read it whole -> Reply. Closes a stream opened before.
    May throw Lost.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """The open stream's next bytes, b"" at its end -> bytes. May throw Lost."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds -> None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a value to the caller before the plan ends (an event, a step, a job's state) -> None."""

    item: Any


Effect: TypeAlias = Send | Open | Read | Pause | Emit
Plan: TypeAlias = Generator[Effect, Any, T]


def send(request: Request) -> Plan[Reply]:
    """`Send` with its type."""
    reply: Reply = yield Send(request)
    return reply


def open_stream(request: Request) -> Plan[Reply]:
    """`Open` with its type."""
    reply: Reply = yield Open(request)
    return reply


def read() -> Plan[bytes]:
    """`Read` with its type."""
    piece: bytes = yield Read()
    return piece
