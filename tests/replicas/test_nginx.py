"""A real nginx, configured as `deploy/` ships it, in front of two APIs: streams pass at once, and replicas come and go
unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from balancer import NoBalancer, balancer
from replicas import Replicas

from longfold_client import AsyncClient, Retry
from longfold_client.types import EventType, JobStatus, Mode

pytestmark = pytest.mark.slow
PATIENT = Retry(attempts=60, reconnects=60, longest=1.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(running: Replicas, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of the balancer; skips, naming what is missing, where there is none."""
    try:
        async with balancer(tmp_path_factory.mktemp("nginx"), running.urls) as url:
            yield url
    except NoBalancer as missing:
        pytest.skip(str(missing))


async def test_events_pass_while_the_job_is_read(front, asked, ended):
    async with AsyncClient(front) as client:
        job = await client.submit(asked.question, [{"text": asked.text}], mode=Mode.FOLD)
        steps = 0
        async for event in client.events(job):
            steps += event.type is EventType.STEP
            if steps == 5 and event.type is EventType.STEP:
                assert (await client.get(job)).status is JobStatus.IN_PROGRESS
        assert steps == len(asked.expected.steps)
    asked.check(*await ended(front, job.id))


async def test_a_rolling_restart_is_seen_by_nobody(front, running, asked, web, ended):
    """Every API is asked to stop and started again, one after the other, while plain clients without retries ask on and
    the SDK follows a job."""
    statuses: list[int] = []
    going = True

    async def ask_on(path: str) -> None:
        while going:
            statuses.append((await web.get(f"{front}{path}")).status_code)
            await asyncio.sleep(0.02)

    async def follow() -> list[int]:
        return [event.seq async for event in client.events(job)]

    async with AsyncClient(front, retry=PATIENT) as client:
        job = await client.submit(asked.question, [{"text": asked.text}], mode=Mode.FOLD)
        following = asyncio.create_task(follow())
        asking = [asyncio.create_task(ask_on(f"/answer/{job.id}")) for _ in range(3)]
        for api in running.apis:
            api.terminate()
            assert await api.wait_ended(30) is not None
            await api.start()
        going = False
        await asyncio.gather(*asking)
        numbers = await following
    assert statuses and set(statuses) == {200}
    assert numbers == list(range(1, len(numbers) + 1))
    asked.check(*await ended(front, job.id))


async def test_a_killed_replica_costs_a_reconnection(front, running, asked, ended):
    seen = []
    async with AsyncClient(front, retry=PATIENT) as client:
        job = await client.submit(asked.question, [{"text": asked.text}], mode=Mode.FOLD)
        async for event in client.events(job):
            seen.append(event.seq)
            if event.seq in (8, 20):
                killed = running.apis[event.seq == 20]
                killed.kill()
                killed.spawn()
    for api in running.apis:
        await api.serving()
    assert seen == list(range(1, len(seen) + 1))
    asked.check(*await ended(front, job.id))


async def test_what_is_not_for_clients_stays_inside(front, web):
    for path in ("/metrics", "/readyz", "/docs"):
        assert (await web.get(f"{front}{path}")).status_code == 404
    assert (await web.get(f"{front}/openapi.json")).status_code == 200
