"""Follows one job's event stream to its end: every event once, in order, over any number of connections. Knows no HTTP
library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import ValidationError

from .effects import Emit, Lost, Pause, Plan, Request, open_stream, read, send
from .errors import ConnectionFailed, LongfoldError, ProtocolError
from .replies import api_error, is_event_stream, parse, retry_after
from .retry import RETRYABLE, Retry
from .sse import BadStream, EventParser, ServerSentEvent
from .types import FINAL_EVENTS, Event, EventType, Job

KNOWN = frozenset(kind.value for kind in EventType)
GAPS = 3
"""Connections in a row that may skip the same event before the stream counts as damaged for good."""
SILENT = 2
"""Streams in a row that opened and never said a word: something on the way holds them back."""


class StreamUnusable(LongfoldError):
    """The event stream cannot be had here (a proxy holds it back, another server); polling may still work."""


class Damaged(Exception):
    """What came is not the next event: a gap or no event at all. Connecting again may mend it."""


@dataclass
class Tail:
    """Where a reader of one job's events stands. Pure: takes server-sent events, gives the events that are new."""

    last: int = 0
    """Number of the last event seen."""
    final: Event | None = None
    draining: bool = False
    """The replica asked to connect again."""

    def take(self, message: ServerSentEvent) -> Event | None:
        """The event to hand on, or None for one seen before or unknown to this version. Raises Damaged; sets `final`,
        `draining`.
        """
        if message.event == EventType.RECONNECT:
            self.draining = True
            return None
        try:
            fields = json.loads(message.data)
            seq, kind = int(fields["seq"]), fields["type"]
            known = kind in KNOWN
        except (ValueError, OverflowError, TypeError, KeyError, RecursionError):
            raise Damaged("an event that is not one of this interface") from None
        if kind == EventType.RECONNECT:
            self.draining = True
            return None
        if seq <= self.last:
            return None
        if seq != self.last + 1:
            raise Damaged(f"event {seq} came after event {self.last}")
        if not known:
            self.last = seq
            return None
        try:
            event = Event.model_validate(fields)
        except ValidationError:
            raise Damaged(f"event {seq} cannot be read") from None
        self.last = seq
        if event.type in FINAL_EVENTS:
            self.final = event
        return event


@dataclass
class Connection:
    """How one connection to the events went."""

    reason: str = "the stream ended early"
    asked: float | None = None
    """Retry-After of a refusal, seconds."""
    opened: bool = False
    heard: bool = False
    """At least one byte came, heartbeats included."""
    ended: bool = False
    """The server closed the stream in good order."""
    damaged: bool = False
    parser: EventParser = field(default_factory=EventParser)


@dataclass(frozen=True)
class Follow:
    """How to follow: the job, the retry policy and how long silence may last."""

    job_id: str
    retry: Retry
    silence: float
    """Seconds without a byte (heartbeats included) before a connection counts as lost."""
    strict: bool
    """True: the caller wants every event, so wait on and raise. False: raise StreamUnusable early, the caller polls."""

    def run(self, tail: Tail) -> Plan[None]:
        """Emits every event after `tail.last`; ends with the final one, or with the stream of a job whose final event
        was seen before.

        Raises APIError, ConnectionFailed (no sign of life over `retry.reconnects` tries), ProtocolError (strict) or
        StreamUnusable (not strict).
        """
        tries = gaps = silent = 0
        finished = False
        while True:
            before = tail.last
            done = yield from self._listen(tail, tries)
            if tail.final is not None:
                return
            moved = tail.last > before
            if done.ended and not moved:
                if finished:
                    return
                finished = yield from self._job_finished()
            # Heartbeats tell that the job waits; who sends to another replica at once tells nothing.
            alive = done.heard and not (done.damaged or tail.draining)
            tries = 0 if moved or alive else tries + 1
            gaps = gaps + 1 if done.damaged and not moved else int(done.damaged)
            silent = silent + 1 if done.opened and not done.heard else 0
            if gaps >= GAPS:
                raise self._unusable(f"the event stream of job {self.job_id} is damaged: {done.reason}")
            if silent >= SILENT and not self.strict:
                raise self._unusable(done.reason)
            yield Pause(self._pause(done, tail.draining, tries))

    def _listen(self, tail: Tail, tries: int) -> Plan[Connection]:
        """One connection, to its end, the final event or the replica's wish to be left."""
        done = Connection()
        tail.draining = False
        try:
            reply = yield from open_stream(self._request(tail.last))
            if reply.status in RETRYABLE:
                done.asked, done.reason = retry_after(reply), f"the server answered {reply.status}"
                if self.retry.pause(tries + 1, done.asked, self.retry.reconnects) is None:
                    raise api_error(reply)
                return done
            if not is_event_stream(reply):
                if self.strict and reply.status != 200:
                    raise api_error(reply)
                raise self._unusable("the address of the event stream answers with something else")
            done.opened = True
            while piece := (yield from read()):
                done.heard = True
                for event in self._events(done.parser, tail, piece):
                    yield Emit(event)
                if tail.final is not None or tail.draining:
                    return done
            done.ended = True
        except Lost as lost:
            done.reason = str(lost)
        except (Damaged, BadStream) as error:
            done.reason, done.damaged = str(error), True
        return done

    def _pause(self, done: Connection, draining: bool, tries: int) -> float:
        """Seconds before the next connection. Raises ConnectionFailed when there were enough."""
        asked = min(done.parser.retry or 0.0, self.retry.longest)
        if draining and tries <= 1:
            return asked + self.retry.first * self.retry.random()
        pause = self.retry.pause(max(1, tries), done.asked, self.retry.reconnects)
        if pause is None:
            raise ConnectionFailed(
                f"lost job {self.job_id}: {done.reason}; the job goes on, follow it again by its id.", self.job_id
            )
        return max(pause, asked)

    def _request(self, last: int) -> Request:
        headers = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
        if last:
            headers["last-event-id"] = str(last)
        return Request("GET", f"{job_path(self.job_id)}/events", headers=headers, read_timeout=self.silence)

    def _events(self, parser: EventParser, tail: Tail, piece: bytes) -> Iterator[Event]:
        for message in parser.feed(piece):
            event = tail.take(message)
            if event is not None:
                yield event
            if tail.final is not None or tail.draining:
                return

    def _job_finished(self) -> Plan[bool]:
        """Asks after a stream that ended without an event: only a finished job's stream may do that for good."""
        try:
            reply = yield from send(Request("GET", job_path(self.job_id)))
        except Lost:
            return False
        if reply.status in RETRYABLE:
            return False
        return parse(reply, Job).finished

    def _unusable(self, reason: str) -> LongfoldError:
        return ProtocolError(f"{reason}.") if self.strict else StreamUnusable(reason)


def job_path(job_id: str) -> str:
    """Where a job lives, relative to the base URL."""
    return f"/answer/{quote(job_id, safe='')}"
