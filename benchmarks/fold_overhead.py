"""What longfold adds to the engine's own time: 2,000 steps over a stub engine of 250 ms, checkpoints on.

Knows no model quality.

Two readings: wall time of the whole fold over the engine time as the engine counted it, and our own time per step
(HTTP call, parse, commit to Redis, next chunk) with an engine that answers at once; also what it is besides the call.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time

import httpx
from prose import prose
from report import Row, report
from service import stack, stub_engine

from longfold_client import AsyncClient
from longfold_client.types import Mode

QUESTION = "What is described in the manual?"
CHUNK_TOKENS = 256
CHARACTERS_PER_STEP = 800
"""Rather too few than too many characters for one chunk: the number of steps is then at least what was asked for."""


async def fold(engine: str, steps: int) -> tuple[float, float, int, list[float], list[float]]:
    """Of one fold over `steps` chunks or more: wall seconds, the engine's seconds, its calls, the seconds from commit
    to commit, and those besides the call."""
    async with stack(engine, chunk_tokens=CHUNK_TOKENS, speculation=0) as running, AsyncClient(running.url) as client:
        document = await client.upload(prose(steps * CHARACTERS_PER_STEP).encode(), title="manual")
        before = httpx.get(f"{engine}/stub", trust_env=False).json()
        started = time.perf_counter()
        job = await client.submit(QUESTION, documents=[document], mode=Mode.FOLD)
        done = await client.wait(job.id)
        wall = time.perf_counter() - started
        after = httpx.get(f"{engine}/stub", trust_env=False).json()
        if done.result is None:
            raise RuntimeError(f"the job did not complete: {done.error}")
        views = [view async for view in client.steps(job.id)]
    apart = [(later.at - earlier.at).total_seconds() for earlier, later in itertools.pairwise(views)]
    own = [seconds - view.engine_seconds for seconds, view in zip(apart, views[1:], strict=True)]
    return wall, after["engine_seconds"] - before["engine_seconds"], after["calls"] - before["calls"], apart, own


async def measure(steps: int) -> int:
    with stub_engine(latency=0.0) as engine:
        _, _, _, apart, own = await fold(engine, steps)
    with stub_engine(latency=0.25) as engine:
        wall, engine_seconds, calls, _, _ = await fold(engine, steps)
    rows = [
        Row("wall / engine time, 250 ms a step", wall / engine_seconds, "", "<= 1.02"),
        Row("engine calls", calls, "calls"),
        Row("wall time", wall, "s"),
        Row("own time per step with HTTP call and commit, p50", statistics.median(apart) * 1e3, "ms", "<= 4"),
        Row("own time per step besides the HTTP call, p50", statistics.median(own) * 1e3, "ms"),
        Row("own time per step besides the HTTP call, p99", statistics.quantiles(own, n=100)[98] * 1e3, "ms"),
    ]
    return report("fold_overhead", rows, steps=steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    return asyncio.run(measure(parser.parse_args().steps))


if __name__ == "__main__":
    raise SystemExit(main())
