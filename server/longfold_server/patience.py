"""Waiting for a part of the service that is away: growing pauses with jitter, shown when they last, up to a limit.
Knows no engine and no store."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Self

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""Seconds between attempts; doubled each time, with jitter so that jobs do not return all at once."""
LONGEST_WISH = 60.0
"""Seconds of a Retry-After that are kept to: a longer wish would spend the patience on one attempt."""
SHOWN_AFTER = 1.0
"""Seconds of waiting before anybody is told; a hiccup is no news."""

Show = Callable[[str], None]
"""Told why when a wait lasts, and "" when it is over."""


def nobody(why: str) -> None:
    """Shows nothing."""


class Patience:
    """`async with Patience(...) as patience` around the attempts of one call; costs nothing while none fails.

    seconds: how long after the first failure the last attempt begins.
    """

    def __init__(self, seconds: float, show: Show = nobody) -> None:
        self._seconds = seconds
        self._show = show
        self._pause = FIRST_PAUSE
        self._since: float | None = None
        self._shown = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._shown:
            self._show("")

    async def rest(self, why: str, *, wish: float = 0.0, served: float = -math.inf) -> bool:
        """Pauses before the next attempt, the last of which begins when the patience ends; False after that one.

        wish: seconds for which the part asked to be left alone. served: loop time at which it last did its work for
        anybody; while it does, nobody's patience ends.
        """
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        left = max(self._since, served) + self._seconds - now
        if left <= 0:
            return False
        wait = min(left, min(LONGEST_WISH, wish) + self._pause * random.uniform(0.5, 1.0))
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        if not self._shown and now + wait > self._since + SHOWN_AFTER:
            self._shown = True
            self._show(why)
        await asyncio.sleep(wait)
        return True
