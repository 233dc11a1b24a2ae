"""Every transition of a job on a real Redis, one script at a time."""

from __future__ import annotations

import asyncio
import json

import pytest

from longfold_client.types import JobStatus
from longfold_server.errors import IdempotencyMismatch, JobCancelled, JobNotFound, LeaseLost, StoreUnavailable
from longfold_server.jobs.connection import connect
from longfold_server.jobs.records import new_job_id
from longfold_server.jobs.store import JobStore, Lease

STATE = {"state": "{}"}


async def claimed(store, asked):
    job = new_job_id()
    await store.create(job, "body", asked)
    claim = await store.claim("w")
    assert claim is not None and claim.job == job
    return Lease(claim)


async def test_create_is_idempotent_by_key_and_body(store, asked):
    job = new_job_id("key", "scope")
    assert job == new_job_id("key", "scope") != new_job_id("key", "other scope") != new_job_id("other key", "scope")
    assert await store.create(job, "body", asked)
    assert not await store.create(job, "body", asked)
    with pytest.raises(IdempotencyMismatch):
        await store.create(job, "other body", asked)
    assert [event.kind for event in await store.events(job, 0, 10)] == ["created"]
    assert (await store.stats()).ready == 1


async def test_scope_and_key_are_not_mixed_up():
    assert new_job_id("bc", "a") != new_job_id("c", "ab")
    assert new_job_id("1:a:b", "") != new_job_id("b", "1:a")


async def test_random_ids_differ():
    assert len({new_job_id() for _ in range(100)}) == 100


async def test_claim_gives_the_oldest_and_carries_the_request(store, asked):
    first, second = new_job_id(), new_job_id()
    await store.create(first, "body", asked)
    await asyncio.sleep(0.005)
    await store.create(second, "body", asked)
    one, two = await store.claim("w"), await store.claim("w")
    assert (one.job, two.job) == (first, second) and one.token != two.token and len(one.token) == 32
    assert one.request == asked and one.state is None and one.gen == 0 and not one.takeover
    assert await store.claim("w") is None
    assert (await store.get(first)).status is JobStatus.IN_PROGRESS
    assert (await store.get(first)).started_at is not None


async def test_commit_writes_state_progress_and_event_together(store, asked, redis):
    lease = await claimed(store, asked)
    seq = await store.commit(lease, "step", {"n": 1}, {"state": '{"a":1}', "progress": '{"chunks_read":1}'})
    assert (seq, lease.gen, lease.seq) == (2, 1, 2)
    [event] = await store.events(lease.job, 1, 10)
    assert (event.seq, event.kind, event.data) == (2, "step", {"n": 1})
    assert (await store.get(lease.job)).progress.chunks_read == 1
    assert [name for name, _ in await redis.xrange(store.keys.events(lease.job))] == ["1-0", "2-0"]


async def test_a_commit_sent_twice_is_applied_once(store, asked):
    lease = await claimed(store, asked)
    commit = store.prepare(lease, "step", {}, STATE)
    assert await commit.send() == await commit.send() == 2
    assert lease.gen == 1 and len(await store.events(lease.job, 0, 10)) == 2
    await store.commit(lease, "step", {}, STATE)
    assert lease.gen == 2


async def test_an_event_without_fields_keeps_the_generation(store, asked):
    lease = await claimed(store, asked)
    await store.commit(lease, "delta", {"text": "a"})
    assert (lease.gen, lease.seq) == (0, 2)


async def test_an_expired_lease_is_taken_over_and_the_old_owner_is_fenced(store, asked, expire):
    old = await claimed(store, asked)
    await store.commit(old, "step", {}, {"state": '{"at":1}'})
    await expire(old.job)
    claim = await store.claim("other")
    assert claim is not None and claim.takeover and claim.gen == 1 and claim.state == '{"at":1}' and claim.seq == 2
    for doomed in (
        store.commit(old, "step", {}, STATE),
        store.commit(old, "delta", {}),
        store.beat(old),
        store.finish(old, JobStatus.COMPLETED, "result", "{}"),
        store.finish(old, JobStatus.FAILED, "error", "{}", fenced=False),
    ):
        with pytest.raises(LeaseLost):
            await doomed
    assert await store.release(old) == "lost"
    await store.commit(Lease(claim), "step", {}, STATE)
    assert [event.seq for event in await store.events(old.job, 0, 10)] == [1, 2, 3]


async def test_expired_leases_come_before_waiting_jobs(store, asked, expire):
    lease = await claimed(store, asked)
    await store.create(new_job_id(), "body", asked)
    await expire(lease.job)
    assert (await store.claim("w")).job == lease.job


async def test_a_stale_generation_is_refused_although_the_token_fits(store, asked):
    lease = await claimed(store, asked)
    behind = store.prepare(lease, "step", {}, STATE)
    await store.commit(lease, "step", {}, STATE)
    with pytest.raises(LeaseLost):
        await behind.send()


async def test_beat_extends_the_lease(store, asked, redis):
    lease = await claimed(store, asked)
    await redis.zadd(store.keys.leases, {lease.job: 5})
    await store.beat(lease)
    seconds, _ = await redis.time()
    assert await redis.zscore(store.keys.leases, lease.job) > (seconds + 25) * 1000


async def test_cancel_of_a_waiting_job_ends_it_at_once(store, asked):
    job = new_job_id()
    await store.create(job, "body", asked)
    assert await store.cancel(job) is JobStatus.CANCELLED
    assert await store.cancel(job) is JobStatus.CANCELLED
    assert await store.claim("w") is None
    assert [event.kind for event in await store.events(job, 0, 10)] == ["created", "cancelled"]


async def test_cancel_of_a_running_job_stops_its_commits(store, asked):
    lease = await claimed(store, asked)
    assert await store.cancel(lease.job) is JobStatus.IN_PROGRESS
    for doomed in (
        store.commit(lease, "step", {}, STATE),
        store.beat(lease),
        store.finish(lease, JobStatus.COMPLETED, "result", "{}"),
        store.finish(lease, JobStatus.FAILED, "error", "{}", fenced=False),
    ):
        with pytest.raises(JobCancelled):
            await doomed
    await store.finish(lease, JobStatus.CANCELLED, fenced=False)
    assert (await store.get(lease.job)).status is JobStatus.CANCELLED


async def test_cancel_reaches_a_job_whose_worker_died_or_let_go(store, asked, expire):
    dead = await claimed(store, asked)
    await store.cancel(dead.job)
    await expire(dead.job)
    assert await store.claim("w") is None
    assert (await store.get(dead.job)).status is JobStatus.CANCELLED
    leaving = await claimed(store, asked)
    await store.cancel(leaving.job)
    assert await store.release(leaving) == "cancelled"


async def test_release_gives_back_with_the_state_and_without_counting(store, asked, redis):
    lease = await claimed(store, asked)
    await store.commit(lease, "step", {}, {"state": "S"})
    assert await store.release(lease) == "released"
    with pytest.raises(LeaseLost):
        await store.commit(lease, "step", {}, STATE)
    again = await store.claim("w")
    assert again.job == lease.job and again.state == "S" and again.gen == 1 and not again.takeover
    assert await redis.hmget(store.keys.job(lease.job), "failures", "takeovers") == ["0", "0"]


async def test_three_failures_end_a_poisoned_job(store, asked, redis):
    lease = await claimed(store, asked)
    for _ in range(2):
        assert await store.release(lease, failure="KeyError") == "released"
        lease = Lease(await store.claim("w"))
    assert await store.release(lease, failure="KeyError") == "failed"
    job = await store.get(lease.job)
    assert job.status is JobStatus.FAILED and job.error.code == "job_poisoned" and "KeyError" in job.error.detail
    assert await store.claim("w") is None
    assert await redis.hget(store.keys.job(lease.job), "takeovers") == "0"


async def test_a_failed_attempt_pauses_before_the_next(store, asked):
    lease = await claimed(store, asked)
    await store.release(lease, failure="KeyError", pause_seconds=60)
    assert await store.claim("w") is None


async def test_a_job_that_kills_its_workers_ends(store, asked, expire):
    lease = await claimed(store, asked)
    for _ in range(2):
        await expire(lease.job)
        assert (await store.claim("w")).job == lease.job
    await expire(lease.job)
    assert await store.claim("w") is None
    assert (await store.get(lease.job)).error.code == "job_poisoned"


async def test_takeovers_with_progress_are_not_counted_against_a_job(store, asked, expire):
    lease = await claimed(store, asked)
    for _ in range(8):
        await store.commit(lease, "step", {}, STATE)
        await expire(lease.job)
        lease = Lease(await store.claim("w"))
    assert (await store.get(lease.job)).status is JobStatus.IN_PROGRESS


async def test_finished_jobs_expire_and_hold_no_state(store, asked, redis):
    lease = await claimed(store, asked)
    await store.commit(lease, "step", {}, {"state": "S", "setup": "T"})
    assert await redis.ttl(store.keys.job(lease.job)) == -1
    await store.finish(
        lease, JobStatus.FAILED, "error", json.dumps({"title": "t", "status": 500, "detail": "d", "code": "c"})
    )
    for key in (store.keys.job(lease.job), store.keys.events(lease.job)):
        assert 90 < await redis.ttl(key) <= 100
    assert await redis.hmget(store.keys.job(lease.job), "state", "setup") == [None, None]
    stats = await store.stats()
    assert (stats.ready, stats.leased) == (0, 0)


async def test_unknown_jobs(store):
    for job in ("job_" + "0" * 32, "job_x", "", "../etc", "job_" + "0" * 32 + "}"):
        for ask in (store.get, store.status, store.cancel):
            with pytest.raises(JobNotFound):
                await ask(job)


async def test_a_redis_that_is_away_is_store_unavailable(own_redis, asked):
    client = connect(own_redis.url)
    store = JobStore(client)
    await store.ping()
    own_redis.kill()
    for doomed in (store.ping(), store.claim("w"), store.stats(), store.events("job_" + "0" * 32, 0, 1)):
        with pytest.raises(StoreUnavailable):
            await doomed
    own_redis.start()
    assert await store.create(new_job_id(), "body", asked)
    await client.aclose()


async def test_a_redis_that_cannot_write_is_store_unavailable(store, asked, redis):
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await store.create(new_job_id(), "body", asked)
    finally:
        await redis.config_set("maxmemory", "0")


async def test_stats_tell_the_age_of_the_oldest(store, asked):
    assert (await store.stats()).oldest_seconds == 0
    await store.create(new_job_id(), "body", asked)
    await asyncio.sleep(0.05)
    assert 0.04 < (await store.stats()).oldest_seconds < 5


async def test_a_cancelled_caller_is_cancelled_whatever_the_client_library_does(store, asked):
    lease = await claimed(store, asked)
    for turns in range(12):
        task = asyncio.create_task(store.beat(lease))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            continue
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await store.beat(lease)
