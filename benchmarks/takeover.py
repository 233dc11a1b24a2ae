"""A worker that dies in the middle of a fold, by SIGKILL and by SIGTERM: how soon another goes on, and whether anything
was read twice.

Stub engine, default settings.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from prose import prose
from replicas import Process, replicas
from report import Row, report

from longfold_client import AsyncClient
from longfold_client.types import Mode

QUESTION = "What is described in the manual?"


async def takeover(end: Callable[[Process], None]) -> tuple[float, list[int]]:
    """Seconds from the end of the busy worker until another committed a step, and the chunks read in the end."""
    with tempfile.TemporaryDirectory(prefix="longfold-bench-") as folder:
        async with (
            replicas(Path(folder), apis=1, latency=0.1, policy="keep", chunk_tokens=256) as running,
            AsyncClient(running.urls[0]) as client,
        ):
            document = await client.upload(prose(160_000).encode(), title="manual")
            job = await client.submit(QUESTION, [document], mode=Mode.FOLD)
            while (await client.get(job.id)).progress.chunks_read < 20:
                await asyncio.sleep(0.1)
            worker = await running.busy()
            ended = time.time()
            end(worker)
            done = await client.wait(job.id)
            views = [view async for view in client.steps(job.id)]
    if done.result is None:
        raise RuntimeError(f"the job did not complete: {done.error}")
    times = [view.at.timestamp() for view in views]
    # Behind the longest pause stands the first step of the other worker: the first one may still commit before it goes.
    _, resumed = max((later - earlier, later) for earlier, later in pairwise(times) if later > ended)
    return resumed - ended, [view.chunk for view in views]


def wrong(read: list[int]) -> int:
    """Chunks applied twice, lost or out of order."""
    return sum(chunk != place for place, chunk in enumerate(read))


async def measure() -> int:
    killed, read_killed = await takeover(Process.kill)
    asked, read_asked = await takeover(Process.terminate)
    rows = [
        Row("kill -9 of the worker until the next chunk is committed", killed, "s", "<= 15"),
        Row("SIGTERM of the worker until the next chunk is committed", asked, "s", "<= 1"),
        Row("chunks applied twice or lost", wrong(read_killed) + wrong(read_asked), "chunks", "<= 0"),
    ]
    return report("takeover", rows, chunks=len(read_killed) + len(read_asked))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(measure()))
