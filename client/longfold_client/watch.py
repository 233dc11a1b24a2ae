"""Hands what a running call emits to the caller's callbacks; knows neither the call nor how async callbacks are
awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from .types import Event, Job, Progress

OnEvent: TypeAlias = Callable[[Event], Awaitable[None] | None]
OnProgress: TypeAlias = Callable[[Progress], Awaitable[None] | None]
OnJob: TypeAlias = Callable[[Job], Awaitable[None] | None]


@dataclass(frozen=True)
class Watch:
    """The callbacks of one call; each may be a coroutine function with AsyncClient."""

    on_event: OnEvent | None = None
    """Every event of the job, once and in order."""
    on_progress: OnProgress | None = None
    """The progress after every step, or every poll."""
    on_job: OnJob | None = None
    """The job when it was accepted, and each later state that was fetched."""

    def calls(self, item: Any) -> Iterator[Awaitable[None] | None]:
        """Calls whoever wants `item`; yields what the callbacks return."""
        if isinstance(item, Event):
            if self.on_event is not None:
                yield self.on_event(item)
            progress = _progress(item)
            if self.on_progress is not None and progress is not None:
                yield self.on_progress(progress)
        elif isinstance(item, Job):
            if self.on_job is not None:
                yield self.on_job(item)
            if self.on_progress is not None:
                yield self.on_progress(item.progress)


def _progress(event: Event) -> Progress | None:
    try:
        return Progress.model_validate(event.data["progress"])
    except (KeyError, ValidationError):
        return None
