"""Ends tasks for certain. Knows nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 0.2
"""Between two cancellations of a task that goes on."""


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancels tasks until they have ended, and waits for that. Their results and errors stay with them.

    One cancellation is not always enough: a client library may swallow it between two of its awaits (redis-py does
    while it reads a reply), and what lives on would keep a dead job's lease for ever.
    """
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_SECONDS)
