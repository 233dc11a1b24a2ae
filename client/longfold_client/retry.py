"""When to try again and after how long; pure arithmetic that knows neither clock nor network."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRYABLE = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed; every request of this client may be repeated safely."""


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with jitter; the defaults suit a service behind a load balancer that is being redeployed."""

    attempts: int = 5
    """Tries of one plain call, the first included. 1 = never retry."""
    reconnects: int = 16
    """Tries in a row without a sign of life while a running job is followed; about two minutes with the defaults."""
    first: float = 0.25
    """Seconds before the second try; doubled each time."""
    longest: float = 10.0
    """Cap of one pause, seconds."""
    longest_asked: float = 60.0
    """A longer Retry-After is not waited for: the caller gets the error, and the time, at once."""
    random: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    """0 <= x < 1, the jitter's source."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.reconnects < 1 or self.first < 0 or self.longest < 0:
            raise ValueError("attempts and reconnects start at 1, pauses at 0 seconds")

    def pause(self, tries: int, asked: float | None = None, limit: int | None = None) -> float | None:
        """Seconds to wait after `tries` failed tries, or None to give up.

        `asked` is the server's Retry-After; jitter only ever adds to it, so that a crowd that was told the same second
        does not return together.
        """
        if tries >= (self.attempts if limit is None else limit):
            return None
        doubled = min(self.longest, self.first * 2.0 ** min(tries - 1, 60))
        if asked is None:
            return doubled * (0.5 + 0.5 * self.random())
        if not asked <= self.longest_asked:  # nor is what is no number
            return None
        return max(0.0, asked) + self.random() * min(1.0, doubled)


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3: delay or date), None if absent or unreadable.

    `date` is the reply's Date header: two stamps of one clock need no synchronised clocks.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    when = _parse_date(text)
    if when is None:
        return None
    now = (_parse_date(date) if date else None) or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _parse_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
