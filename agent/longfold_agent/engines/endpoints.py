"""Several replicas of one engine: which one a request meets first, and which are down. Knows no HTTP; time comes from
a clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from longfold_agent.errors import EngineError


class Circuit(StrEnum):
    CLOSED = "closed"
    """Takes requests."""
    OPEN = "open"
    """Failed lately; takes none until its pause is over."""
    HALF_OPEN = "half_open"
    """Its pause is over; one request tries it."""


@dataclass(slots=True)
class Endpoint:
    """One base URL with its circuit."""

    url: str
    failures: int = 0
    """In a row."""
    retry_at: float = 0.0
    """Clock time at which a down endpoint may be tried again."""
    trying: bool = False
    """A request is trying it at this moment."""

    def circuit(self, now: float) -> Circuit:
        if not self.failures:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.retry_at or self.trying else Circuit.HALF_OPEN


class Endpoints:
    """The replicas, ordered for each affinity key by highest random weight: a key keeps its replica while that one
    lives, and the keys of a lost replica spread evenly over the others.

    pause, longest_pause: seconds a replica is left alone after its first failure; doubles with each further one, up to
    the longest.
    clock: monotonic seconds.
    """

    def __init__(
        self, urls: Sequence[str], *, clock: Callable[[], float], pause: float = 1.0, longest_pause: float = 60.0
    ) -> None:
        if not urls or len(set(urls)) != len(urls):
            raise ValueError("an engine needs at least one base URL, each given once")
        self.all = tuple(Endpoint(url) for url in urls)
        self._clock = clock
        self._pause = pause
        self._longest_pause = longest_pause
        self._turn = 0

    def order(self, affinity: str) -> list[Endpoint]:
        """All replicas, the preferred first. Without an affinity they take turns."""
        if not affinity:
            self._turn += 1
            at = self._turn % len(self.all)
            return [*self.all[at:], *self.all[:at]]
        return sorted(self.all, key=lambda endpoint: _weight(affinity, endpoint.url), reverse=True)

    def usable(self, affinity: str) -> Iterator[Endpoint]:
        """Replicas in order that take requests now, looked at one at a time; all of them when every one is down,
        soonest first: waiting is the caller's business, and a refusal is better than none."""
        order = self.order(affinity)
        found = False
        for endpoint in order:
            if endpoint.circuit(self._clock()) is not Circuit.OPEN:
                found = True
                yield endpoint
        if not found:
            yield from sorted(order, key=lambda endpoint: endpoint.retry_at)

    @contextmanager
    def trial(self, endpoint: Endpoint) -> Iterator[None]:
        """Around one attempt: a retryable `EngineError` takes the endpoint down, any other outcome but a cancellation
        shows it alive."""
        first = endpoint.circuit(self._clock()) is Circuit.HALF_OPEN
        endpoint.trying = endpoint.trying or first
        try:
            yield
        except EngineError as error:
            if error.retryable:
                self._failed(endpoint)
            else:
                endpoint.failures = 0
            raise
        else:
            endpoint.failures = 0
        finally:
            if first:
                endpoint.trying = False

    def _failed(self, endpoint: Endpoint) -> None:
        """Requests that were in flight together when it failed count as one failure."""
        now = self._clock()
        if endpoint.failures and now < endpoint.retry_at:
            return
        endpoint.failures += 1
        endpoint.retry_at = now + min(self._longest_pause, self._pause * 2 ** min(endpoint.failures - 1, 30))


def _weight(affinity: str, url: str) -> bytes:
    return hashlib.blake2b(f"{affinity}\n{url}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
