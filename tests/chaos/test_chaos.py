"""Everything dies, stops and stumbles at random, from a seed, while clients go on: no job is lost, no chunk is read
twice or left out, no client sees a gap or a repeat.

    pytest tests/chaos -k long --chaos-seconds 3600 --chaos-seed 7
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from balancer import NoBalancer, balancer
from crowd import Crowd, Verdict
from faults import Faults
from replicas import TOKENIZER, Replicas, RoundRobin, replicas

from longfold_agent import load_tokens

BUDGET = 24
"""Tokens of a chunk: many chunks from little text."""
SETTLE_SECONDS = 240.0
"""From the last fault until every job has ended; generous for a machine that is shared."""
GAUGE = re.compile(r'^longfold_jobs\{status="(\w+)"\} (\S+)$', re.MULTILINE)
SETTINGS = {
    "chunk_tokens": BUDGET,
    "lease_seconds": 2.0,
    "drain_seconds": 0.2,
    "worker_concurrency": 8,
    # Leases are far shorter than pauses here, so a job may well be taken over many times between two commits.
    "max_stalled_takeovers": 1000,
}
DURABLE = ("--appendfsync", "always")
"""What a client was told is on disk: with `everysec` Redis may forget its last second when it is killed."""


async def run(
    folder: Path,
    seed: int,
    seconds: float,
    *,
    pause: float,
    faults: int,
    clients: int,
    jobs: int,
    chunks: int,
    with_nginx: bool = False,
) -> None:
    """Disturbs for `seconds`, about every `pause` seconds, at least `faults` times, while at least `jobs` jobs run.

    Fails the test with the seed and the log of faults when anything is wrong. Clients come through nginx, or take turns
    at the replicas.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(replicas(folder, latency=0.03, redis_flags=DURABLE, **SETTINGS))
        base, transport = running.urls[0], lambda: RoundRobin(running.urls)
        if with_nginx:
            base = await stack.enter_async_context(balancer(folder, running.urls))
            transport = httpx.AsyncHTTPTransport
        crowd = Crowd(
            base,
            transport,
            load_tokens(TOKENIZER),
            seed=seed,
            budget=BUDGET,
            chunks=chunks,
        )
        disturbing = Faults(running, seed, pause)
        going = asyncio.Event()
        going.set()
        waiting = asyncio.create_task(crowd.run(clients, jobs, going))
        try:
            await disturbing.run(seconds, faults)
            going.clear()
            await asyncio.wait_for(waiting, SETTLE_SECONDS)
        except TimeoutError:
            disturbing.findings += [f"a client still waits: {how}" for how in crowd.open.values()]
        finally:
            waiting.cancel()
        verdict = await crowd.verdict()
        verdict.findings += crowd.findings + disturbing.findings + await leftovers(running)
    told = summary(seed, disturbing, verdict)
    print(told)
    if verdict.findings:
        log = "\n".join(map(str, disturbing.log))
        pytest.fail("\n".join([told, *verdict.findings[:40], f"logs in {folder}", "faults:", log]), pytrace=False)


async def leftovers(running: Replicas) -> list[str]:
    """Jobs that the queue still holds, though all have ended."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        text = (await client.get(f"{running.urls[0]}/metrics")).text
    return [f"the queue still holds {count} jobs {status}" for status, count in GAUGE.findall(text) if float(count)]


def summary(seed: int, faults: Faults, verdict: Verdict) -> str:
    kinds = Counter(f"{fault.what} {fault.target.partition('-')[0]}" for fault in faults.log)
    return (
        f"chaos seed {seed}, {faults.log[-1].at:.0f} s: {len(faults.log)} faults {dict(kinds)}; {verdict.jobs} jobs "
        f"{verdict.ended} {verdict.how}, {verdict.steps} steps, {verdict.events} events seen; "
        f"{len(verdict.findings)} findings"
    )


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> Callable[[int, float], tuple[int, float]]:
    """Seed and seconds: those of the command line, else the test's own."""
    seed, seconds = request.config.getoption("--chaos-seed"), request.config.getoption("--chaos-seconds")
    return lambda own_seed, own_seconds: (
        own_seed if seed is None else seed,
        own_seconds if seconds is None else seconds,
    )


async def test_a_short_chaos(tmp_path: Path, chosen: Callable[[int, float], tuple[int, float]]) -> None:
    seed, seconds = chosen(11, 20.0)
    await run(tmp_path, seed, seconds, pause=0.7, faults=15, clients=5, jobs=10, chunks=50)


@pytest.mark.slow
async def test_a_long_chaos(tmp_path: Path, chosen: Callable[[int, float], tuple[int, float]]) -> None:
    seed, seconds = chosen(12, 330.0)
    try:
        await run(tmp_path, seed, seconds, pause=1.0, faults=200, clients=6, jobs=100, chunks=50, with_nginx=True)
    except NoBalancer as missing:
        pytest.skip(str(missing))
