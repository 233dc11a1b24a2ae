"""When a call is tried again and when it is given up. Knows no endpoints and no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from longfold_agent.errors import EngineError, EngineOverloaded

FIRST_BACKOFF, LONGEST_BACKOFF = 0.25, 15.0
"""Seconds before the second round over the endpoints; doubles with each round, up to the longest."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How calls are retried.

    seconds: no new attempt begins later than this after the call; 0 tries each endpoint once.
    clock, sleep, jitter: monotonic seconds, the wait between rounds, uniform numbers in [0, 1).
    """

    seconds: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    jitter: Callable[[], float]

    def begin(self) -> Rounds:
        """The rounds of one call that begins now."""
        return Rounds(self)


class Rounds:
    """The rounds of one call over its endpoints."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._began = retry.clock()
        self._rested = 0

    def over(self) -> bool:
        """Whether no further attempt may begin."""
        return self._elapsed() > self._retry.seconds

    async def rest(self, failures: Sequence[EngineError]) -> None:
        """Waits before the next round; raises the last failure where the time would be over by then.

        When every failure says when to come back (Retry-After), the wait lasts at least until the first is free.
        """
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._rested, 30)) * (0.5 + self._retry.jitter() / 2)
        asked = [failure.retry_after if isinstance(failure, EngineOverloaded) else None for failure in failures]
        named = [seconds for seconds in asked if seconds is not None]
        if named and len(named) == len(asked):
            delay = max(delay, min(named))
        if self._elapsed() + delay > self._retry.seconds:
            raise failures[-1]
        await self._retry.sleep(delay)
        self._rested += 1

    def _elapsed(self) -> float:
        return self._retry.clock() - self._began
