"""Server-sent events out of bytes that arrive in any pieces (WHATWG HTML, 9.2.6); knows nothing of jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LINE_END = re.compile(rb"\r\n|\r|\n")
LONGEST = 64 * 2**20
"""Bytes of a line, and of an event's data: the largest holds one finished job, a server that sends more is broken."""


class BadStream(ValueError):
    """The bytes are not an event stream that can be read."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event."""

    event: str
    """Its name, "message" where the stream gives none."""
    data: str
    id: str
    """The last id seen up to here, "" before the first."""


class EventParser:
    """Feed it bytes, take events. `retry` is the last reconnection time the server asked for, in seconds.

    One leniency: an event with a name and no data is dispatched too (a bare `event: reconnect` must not be lost).
    """

    retry: float | None

    def __init__(self) -> None:
        self.retry = None
        self._partial = bytearray()
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[str] = []
        self._held = 0
        self._id = ""

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """The events completed by `piece`. Raises BadStream for a line or an event beyond LONGEST."""
        for line in self._lines(piece):
            event = self._line(line)
            if event is not None:
                yield event

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if not piece:
            return
        self._after_cr = piece.endswith(b"\r")
        *ended, rest = LINE_END.split(piece)
        for line in ended:
            yield bytes(self._partial) + line if self._partial else line
            self._partial.clear()
        self._partial += rest
        if len(self._partial) > LONGEST:
            raise BadStream(f"a line of more than {LONGEST} bytes")

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if not line:
            return self._dispatch()
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(value)
            self._held += len(raw) + 1
            if self._held > LONGEST:
                raise BadStream(f"an event of more than {LONGEST} bytes")
        elif name == b"event":
            self._name = value
        elif name == b"id" and "\0" not in value:
            self._id = value
        elif name == b"retry" and value.isascii() and value.isdigit():
            self.retry = float(value) / 1000  # of too many digits: for ever, where int() gives up
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        if not self._data and not self._name:
            return None
        event = ServerSentEvent(self._name or "message", "\n".join(self._data), self._id)
        self._name, self._data, self._held = "", [], 0
        return event
