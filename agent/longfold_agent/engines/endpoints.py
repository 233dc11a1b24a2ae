"""Several replicas of one engine: which one a request meets first, and which are left alone. Knows no HTTP; time comes
from a clock.

A replica's circuit opens after a few failures in a row. It is then left alone for a pause that doubles with every
opening, with jitter, so that the processes of a service do not return all at once; then one caller asks whether it is
well (`probe`), and only a yes closes the circuit. The probe is no completion: a read may take minutes, and everybody
else would wait for it.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from longfold_agent.errors import EngineError, EngineOverloaded, EngineUnavailable

LONGEST_REST = 60.0
"""Seconds of a Retry-After that are kept to; a server's longer wish would outlast the trouble."""
LOAD_BOUND = 1.25
"""A replica with more calls in flight than this share of the mean is passed over."""
FREE_LOAD = 8
"""In flight at a replica before the bound counts: so few calls are decoded in one batch at hardly the price of one, and
the prefix cache of the preferred replica is worth more."""


class Circuit(StrEnum):
    CLOSED = "closed"
    """Takes requests."""
    OPEN = "open"
    """Failed lately; takes none until its pause is over and a probe succeeded."""
    HALF_OPEN = "half_open"
    """Its pause is over; the next caller probes it."""


@dataclass(slots=True, eq=False)
class Endpoint:
    """One base URL with its circuit."""

    url: str
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    openings: int = 0
    """Of its circuit since its last success; the pause grows with them."""
    retry_at: float | None = None
    """Clock time at which an open circuit is half open; None while it is closed."""
    resting_until: float = 0.0
    """Clock time until which it asked to be left alone (Retry-After)."""
    probing: bool = False
    error: EngineError | None = None
    """The last failure."""

    def circuit(self, now: float) -> Circuit:
        if self.retry_at is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.retry_at or self.probing else Circuit.HALF_OPEN


class Endpoints:
    """The replicas, ordered for each affinity key by highest random weight: a key keeps its replica while that one
    lives, and the keys of a lost replica spread evenly over the others.

    clock, jitter: monotonic seconds; uniform numbers in [0, 1).
    threshold: failures in a row that open a circuit.
    pause, longest_pause: most seconds a replica is left alone at first and at last.
    on_circuit: told each URL and its circuit's state at the start, and again when it opens and when it closes.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
        threshold: int = 3,
        pause: float = 1.0,
        longest_pause: float = 10.0,
        on_circuit: Callable[[str, Circuit], None] = lambda url, state: None,
    ) -> None:
        if not urls or len(set(urls)) != len(urls):
            raise ValueError("an engine needs at least one base URL, each given once")
        self.all = tuple(Endpoint(url) for url in urls)
        self._clock = clock
        self._jitter = jitter
        self._threshold = threshold
        self._pause = pause
        self._longest_pause = longest_pause
        self._on_circuit = on_circuit
        self._turn = 0
        for endpoint in self.all:
            on_circuit(endpoint.url, Circuit.CLOSED)

    def order(self, affinity: str) -> list[Endpoint]:
        """All replicas, the preferred first. Without an affinity the least busy leads, equals take turns."""
        if affinity:
            return sorted(self.all, key=lambda endpoint: _weight(affinity, endpoint.url), reverse=True)
        self._turn += 1
        at = self._turn % len(self.all)
        return sorted([*self.all[at:], *self.all[:at]], key=lambda endpoint: endpoint.in_flight)

    def usable(self, affinity: str) -> Iterator[Endpoint]:
        """Replicas in order that take requests now, each looked at when its turn comes; those with far more in flight
        than the mean come last. A half-open one must be probed before it is used."""
        ready = [endpoint for endpoint in self.order(affinity) if self._takes(endpoint)]
        total = sum(endpoint.in_flight for endpoint in ready) + 1
        bound = max(FREE_LOAD, math.ceil(LOAD_BOUND * total / max(1, len(ready))))
        for endpoint in sorted(ready, key=lambda endpoint: endpoint.in_flight >= bound):
            if self._takes(endpoint):
                yield endpoint

    def half_open(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint must be probed before it is used."""
        return endpoint.circuit(self._clock()) is Circuit.HALF_OPEN

    def away(self) -> EngineError:
        """The error of a call that finds no usable replica: overloaded where one will be free, else unavailable."""
        now = self._clock()
        rests = [endpoint.resting_until - now for endpoint in self.all if endpoint.retry_at is None]
        if rests:
            wait = max(0.0, min(rests))
            return EngineOverloaded(f"every replica is overloaded; one is free in {wait:.1f} s", retry_after=wait)
        last = max(self.all, key=lambda endpoint: endpoint.retry_at or 0.0)
        return EngineUnavailable(f"every replica is down; last: {last.error}")

    @contextmanager
    def trial(self, endpoint: Endpoint) -> Iterator[None]:
        """Around one attempt: a retryable `EngineError` counts as a failure, one with Retry-After lets the endpoint
        rest, any other outcome but a cancellation shows it alive."""
        endpoint.in_flight += 1
        try:
            yield
        except EngineError as error:
            if isinstance(error, EngineOverloaded) and error.retry_after is not None:
                endpoint.resting_until = self._clock() + min(LONGEST_REST, error.retry_after)
            elif error.retryable:
                endpoint.failures += 1
                endpoint.error = error
                if endpoint.failures >= self._threshold and endpoint.retry_at is None:
                    self._open(endpoint)
            else:
                self._well(endpoint)
            raise
        else:
            self._well(endpoint)
        finally:
            endpoint.in_flight -= 1

    @contextmanager
    def probe(self, endpoint: Endpoint) -> Iterator[None]:
        """Around the question whether a half-open endpoint is well: an `EngineError` opens the circuit again, for
        longer; success closes it on probation: the next failure opens it again."""
        endpoint.probing = True
        try:
            yield
        except EngineError as error:
            endpoint.error = error
            self._open(endpoint)
            raise
        else:
            endpoint.failures = self._threshold - 1
            self._close(endpoint)
        finally:
            endpoint.probing = False

    def _takes(self, endpoint: Endpoint) -> bool:
        now = self._clock()
        return endpoint.circuit(now) is not Circuit.OPEN and now >= endpoint.resting_until

    def _open(self, endpoint: Endpoint) -> None:
        longest = min(self._longest_pause, self._pause * 2 ** min(endpoint.openings, 30))
        endpoint.openings += 1
        endpoint.retry_at = self._clock() + longest * (0.5 + self._jitter() / 2)
        self._on_circuit(endpoint.url, Circuit.OPEN)

    def _well(self, endpoint: Endpoint) -> None:
        endpoint.failures = endpoint.openings = 0
        self._close(endpoint)

    def _close(self, endpoint: Endpoint) -> None:
        if endpoint.retry_at is not None:
            endpoint.retry_at = None
            self._on_circuit(endpoint.url, Circuit.CLOSED)


def _weight(affinity: str, url: str) -> bytes:
    return hashlib.blake2b(f"{affinity}\n{url}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
