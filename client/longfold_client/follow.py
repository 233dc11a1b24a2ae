"""Follows one job's event stream to its end: every event once, in order, over any number of connections. Knows no HTTP
library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
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
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Damaged("an event that is not one of this interface") from None
        if kind == EventType.RECONNECT:
            self.draining = True
            return None
        if seq <= self.last:
            return None
        if seq != self.last + 1:
            raise Damaged(f"event {seq} came after event {self.last}")
        if kind not in KNOWN:
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


@dataclass(frozen=True)
class Follow:
    """How to follow: the job, the retry policy and how long silence may last."""

    job_id: str
    retry: Retry
    silence: float
    """Seconds without a byte (heartbeats included) before a connection counts as lost."""
    strict: bool
    """True: the caller wants every event, so wait on and raise. False: raise StreamUnusable early, the caller polls
    instead.
    """

    def run(self, tail: Tail) -> Plan[None]:
        """Emits every event after `tail.last`; ends with the final one, or with the stream of a job whose final event
        was seen before.

        Raises APIError, ConnectionFailed (no news over `retry.reconnects` tries), ProtocolError (strict) or
        StreamUnusable (not strict).
        """
        tries = gaps = silent = 0
        finished = False
        while True:
            before = tail.last
            tail.draining = damaged = heard = ended = False
            asked: float | None = None
            parser = EventParser()
            reason = "the stream ended early"
            try:
                reply = yield from open_stream(self._request(tail.last))
                if reply.status in RETRYABLE:
                    asked, reason = retry_after(reply), f"the server answered {reply.status}"
                    if self.retry.pause(tries + 1, asked, self.retry.reconnects) is None:
                        raise api_error(reply)
                elif not is_event_stream(reply):
                    if self.strict and reply.status != 200:
                        raise api_error(reply)
                    raise self._unusable("the address of the event stream answers with something else")
                else:
                    while piece := (yield from read()):
                        heard = True
                        for event in self._events(parser, tail, piece):
                            yield Emit(event)
                        if tail.final is not None:
                            return
                        if tail.draining:
                            break
                    ended = not tail.draining
                    silent = 0 if heard else silent + 1
            except Lost as lost:
                reason = str(lost)
                silent = 0 if heard else silent + 1
            except (Damaged, BadStream) as error:
                reason, damaged = str(error), True
            moved = tail.last > before
            if ended and not moved:
                if finished:
                    return
                finished = yield from self._job_finished()
            tries = 0 if moved else tries + 1
            gaps = gaps + 1 if damaged and not moved else int(damaged)
            if gaps >= GAPS:
                raise self._unusable(f"the event stream of job {self.job_id} is damaged: {reason}")
            if not self.strict and silent >= GAPS:
                raise self._unusable(reason)
            if tail.draining and tries <= 1:
                yield Pause(self.retry.first * self.retry.random())
                continue
            pause = self.retry.pause(max(1, tries), asked, self.retry.reconnects)
            if pause is None:
                raise ConnectionFailed(
                    f"lost job {self.job_id}: {reason}; the job goes on, follow it again by its id.", self.job_id
                )
            yield Pause(max(pause, min(parser.retry or 0.0, self.retry.longest)))

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
