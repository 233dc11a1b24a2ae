"""What callers and jobs see of a Redis that is full or restarts."""

from __future__ import annotations

import asyncio
from collections import Counter

from longfold_agent.engines.scripted import ScriptedEngine

FACTS = {1: "FACT one is red.", 7: "FACT two is blue."}


async def progressed(service, job, chunks, until):
    async def enough():
        return (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"] >= chunks

    await until(enough)


async def test_a_full_redis_is_a_503_and_jobs_go_on_when_there_is_room(start, own_redis, text_with, reader, until):
    async with start(ScriptedEngine(reader, latency=0.05), on=own_redis.url, lease_seconds=30) as service:
        job = (await service.ask(text_with(12, FACTS), mode="fold"))["id"]
        await progressed(service, job, 2, until)
        own_redis.configure("maxmemory", "1")
        body = {"question": "What?", "documents": [{"text": "some text"}]}
        refused = await service.client.post("/answer", json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert (await service.client.get(f"/answer/{job}")).status_code == 200  # reading needs no memory
        before = (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"]
        await asyncio.sleep(0.5)
        stuck = (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"]
        assert stuck <= before + 1
        own_redis.configure("maxmemory", "0")
        assert (await service.client.post("/answer", json=body)).status_code == 202
        found = await service.finished(job)
        steps = (await service.client.get(f"/answer/{job}/steps")).json()["steps"]
    assert found["result"]["answer"] == "FACT two is blue."
    assert max(Counter(step["id"] for step in steps).values()) == 1
    assert [step["start"] for step in steps[1:]] == [step["end"] for step in steps[:-1]]


async def test_a_redis_that_restarts_loses_nothing_and_repeats_nothing(start, own_redis, text_with, reader, until):
    async with start(ScriptedEngine(reader, latency=0.05), on=own_redis.url, lease_seconds=30) as service:
        job = (await service.ask(text_with(12, FACTS), mode="fold"))["id"]
        await progressed(service, job, 3, until)
        await asyncio.sleep(1.2)  # the append-only file is flushed every second
        own_redis.kill()
        refused = await service.client.get(f"/answer/{job}")
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert "retry-after" in refused.headers
        own_redis.start()
        found = await service.finished(job)
        steps = (await service.client.get(f"/answer/{job}/steps")).json()["steps"]
    assert found["result"]["answer"] == "FACT two is blue."
    assert max(Counter(step["id"] for step in steps).values()) == 1
    assert [step["start"] for step in steps[1:]] == [step["end"] for step in steps[:-1]]
