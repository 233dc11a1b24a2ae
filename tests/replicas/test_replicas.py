"""Any replica serves any job; one that goes, politely or not, costs its clients a reconnection and its jobs nothing."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
from replicas import RoundRobin

from longfold_client import AsyncClient, Retry
from longfold_client.types import Mode


def numbers(events):
    return [event.seq for event in events]


async def metric(web, url, name):
    found = re.search(rf"^{name} (\S+)$", (await web.get(f"{url}/metrics")).text, re.MULTILINE)
    return float(found[1])


async def post(web, url, asked):
    reply = await web.post(f"{url}/answer", json=asked.body)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


async def test_any_replica_answers_for_any_job(running, web, asked, read, ended):
    one, other = running.urls
    job = await post(web, one, asked)
    events, last = await read(other, job)
    assert last == "completed" and numbers(events) == list(range(1, len(events) + 1))
    here, there = await ended(one, job), await ended(other, job)
    assert here == there
    asked.check(*here)


async def test_a_document_uploaded_at_one_replica_is_read_through_another(running, web, asked, ended):
    one, other = running.urls
    uploaded = (await web.post(f"{one}/documents", content=asked.text.encode())).json()
    body = asked.body | {"documents": [{"document_id": uploaded["document_id"]}]}
    job = (await web.post(f"{other}/answer", json=body)).json()["id"]
    asked.check(*await ended(one, job))


async def test_a_cancel_at_one_replica_ends_a_stream_of_the_other(running, web, asked, read):
    one, other = running.urls
    job = await post(web, one, asked)
    following = asyncio.create_task(read(other, job))
    await read(one, job, most=8)
    assert (await web.delete(f"{one}/answer/{job}")).status_code in (200, 202)
    events, last = await following
    assert last == "cancelled" and numbers(events) == list(range(1, len(events) + 1))
    assert len(events) < len(asked.expected.steps)


async def test_a_stream_goes_on_at_another_replica_without_gap_or_repeat(running, web, asked, read, ended):
    job = await post(web, running.urls[0], asked)
    events, last = [], ""
    while last != "completed":
        more, last = await read(running.urls[len(events) % 2], job, after=len(events), most=9)
        events += more
    assert numbers(events) == list(range(1, len(events) + 1))
    asked.check(*await ended(running.urls[0], job))


async def test_a_draining_api_says_goodbye_and_is_not_ready(running, web, asked, read, ended):
    one, other = running.urls
    job = await post(web, one, asked)
    following = asyncio.create_task(read(one, job))
    await read(other, job, most=8)
    running.apis[0].terminate()
    try:
        events, last = await following
        assert last == "reconnect" and numbers(events) == list(range(1, len(events) + 1))
        # It still takes connections, so that whoever routes to it finds out by asking.
        async with httpx.AsyncClient(trust_env=False) as fresh:
            reply = await fresh.get(f"{one}/readyz")
        assert reply.status_code == 503 and reply.json()["checks"]["draining"] == "yes"
        rest, last = await read(other, job, after=len(events))
        assert last == "completed"
        assert numbers(events + rest) == list(range(1, len(events + rest) + 1))
        assert await running.apis[0].wait_ended(30) is not None
    finally:
        running.apis[0].kill()
        await running.apis[0].start()
    asked.check(*await ended(other, job))


async def test_the_sdk_follows_over_a_replica_that_is_killed(running, web, asked, ended):
    seen = []
    async with (
        asyncio.timeout(120),
        AsyncClient(running.urls[0], transport=RoundRobin(running.urls), retry=Retry(reconnects=60)) as client,
    ):
        job = await client.submit(asked.question, [{"text": asked.text}], mode=Mode.FOLD)
        async for event in client.events(job):
            seen.append(event)
            if event.seq in (8, 16):  # both its connections: replicas take turns
                running.apis[event.seq // 16].kill()
                running.apis[event.seq // 16].spawn()
    assert numbers(seen) == list(range(1, len(seen) + 1)) and seen[-1].type == "completed"
    for api in running.apis:
        await api.serving()
    asked.check(*await ended(running.urls[1], job.id))


async def test_a_worker_that_is_asked_to_stop_gives_its_jobs_back_at_once(running, web, asked, read, ended):
    url = running.urls[0]
    job = await post(web, url, asked)
    await read(url, job, most=8)
    worker = await running.busy()
    other = next(at for at, one in zip(running.worker_urls, running.workers, strict=True) if one is not worker)
    before = await metric(web, other, "longfold_job_takeovers_total")
    worker.terminate()
    try:
        asked.check(*await ended(url, job))
        # Given back, not found abandoned: nobody had to wait for the lease to run out.
        assert await metric(web, other, "longfold_job_takeovers_total") == before
        assert await worker.wait_ended(30) is not None
    finally:
        worker.kill()
        await worker.start()


async def test_a_killed_worker_is_replaced_when_its_lease_ends(running, web, asked, read, ended):
    url = running.urls[0]
    job = await post(web, url, asked)
    await read(url, job, most=8)
    worker = await running.busy()
    other = next(at for at, one in zip(running.worker_urls, running.workers, strict=True) if one is not worker)
    before = await metric(web, other, "longfold_job_takeovers_total")
    worker.kill()
    try:
        asked.check(*await ended(url, job))
        assert await metric(web, other, "longfold_job_takeovers_total") == before + 1
    finally:
        await worker.start()


async def test_a_paused_worker_that_wakes_up_beside_its_replacement_changes_nothing(running, web, asked, read, ended):
    url = running.urls[0]
    job = await post(web, url, asked)
    await read(url, job, most=8)
    worker = await running.busy()
    worker.pause()
    try:
        seen, _ = await read(url, job, after=8, most=4)  # three at most were on their way: somebody else goes on
        assert seen
    finally:
        worker.resume()
    asked.check(*await ended(url, job))
    assert worker.ended is None


async def test_redis_that_restarts_is_waited_for(running, web, asked, read, ended):
    url = running.urls[1]
    job = await post(web, url, asked)
    await read(url, job, most=8)
    began = time.time()
    running.redis.terminate()
    await running.redis.wait_ended(30)
    reply = await web.get(f"{url}/answer/{job}")
    assert reply.status_code == 503 and reply.headers["retry-after"]
    await running.redis.start()
    found, steps = await ended(url, job)
    asked.check(found, steps)
    assert steps.steps[-1].at.timestamp() > began
