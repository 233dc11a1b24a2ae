"""How soon the engine sees a document's first chunk, and how much the service grows over a long text.

Both readings use the stub engine: the first a document of four million tokens, the second 40 MB read to the end.
Knows no model.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil
from prose import prose
from report import Row, report
from service import stack, stub_engine

from longfold_client import AsyncClient
from longfold_client.types import Mode

QUESTION = "What is described in the manual?"
MEGABYTE = 1_000_000


async def measure() -> int:
    with stub_engine(latency=0.0) as engine:
        async with stack(engine, chunk_tokens=4096) as running, AsyncClient(running.url) as client:
            small = await client.upload(prose(40_000).encode(), title="warm-up")
            await client.wait((await client.submit(QUESTION, [small], mode=Mode.FOLD)).id)
            document = await client.upload(prose(40 * MEGABYTE).encode(), title="manual")
            server = psutil.Process(running.children["server"].pid)
            httpx.post(f"{engine}/stub/reset", trust_env=False)
            before = rss(server)
            started = time.time()
            job = await client.submit(QUESTION, [document], mode=Mode.FOLD)
            waiting = asyncio.create_task(client.wait(job.id))
            peak = before
            while not waiting.done():
                peak = max(peak, rss(server))
                await asyncio.sleep(0.1)
            done = waiting.result()
            if done.result is None:
                raise RuntimeError(f"the job did not complete: {done.error}")
            seconds = time.time() - started
            first = httpx.get(f"{engine}/stub", trust_env=False).json()["first_call"] - started
    rows = [
        Row("first chunk in the engine after POST /answer", first, "s", "<= 1"),
        Row("growth of the service while it reads 40 MB", (peak - before) / MEGABYTE, "MB", "<= 100"),
        Row("tokens read", done.progress.tokens_read, "tokens"),
        Row("time for the whole text, stub engine", seconds, "s"),
    ]
    return report("first_chunk_and_memory", rows, characters=40 * MEGABYTE)


def rss(process: psutil.Process) -> int:
    """Resident bytes of a process and its children."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(measure()))
