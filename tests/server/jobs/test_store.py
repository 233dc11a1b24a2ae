"""What only the store in Redis can suffer: halves of transitions that are lost, slots, a Redis that is away or full."""

from __future__ import annotations

import asyncio
import dataclasses
import re

import pytest
from redis.crc import key_slot

from longfold_client.types import JobStatus
from longfold_server.errors import JobNotFound, StoreUnavailable, TooManyJobs
from longfold_server.jobs.connection import connect
from longfold_server.jobs.keys import QUEUE, Keys
from longfold_server.jobs.lua import sources
from longfold_server.jobs.queue import Reservation
from longfold_server.jobs.records import Claim, Idle, Lease, new_job_id
from longfold_server.jobs.store import JobStore

HINTS = ("enqueue", "extend", "forget", "drop")
STATE = {"state": "{}"}


class Losing:
    """A queue that Redis goes away from before the next hint."""

    def __init__(self, queue):
        self._queue = queue
        self.lost = False

    def __getattr__(self, name):
        async def lose(*args, **fields):
            self.lost = False
            raise StoreUnavailable("lost")

        return lose if self.lost and name in HINTS else getattr(self._queue, name)


@pytest.fixture
def losing(jobs):
    """The store; `losing.queue.lost = True` loses the next hint."""
    jobs.queue = Losing(jobs.queue)
    return jobs


@pytest.fixture
def later(redis, jobs):
    """Ends every reservation and pause, or every lease of the queue but not of the jobs."""

    async def end(name="later"):
        key = jobs.keys.queue(name)
        for place in await redis.zrange(key, 0, -1):
            await redis.zadd(key, {place: 1})

    return end


async def everything(redis, store):
    """What the queue holds, by key."""
    kinds = {"turn": "string", "attempts": "hash"}
    found = {}
    for name in QUEUE:
        key = store.keys.queue(name)
        if name not in kinds:
            found[name] = await redis.zrange(key, 0, -1)
    return {name: members for name, members in found.items() if members}


async def taken(store):
    claim = await store.claim("w")
    assert isinstance(claim, Claim)
    return Lease(claim)


async def claimed(store, asked, **fields):
    await store.create(new_job_id(), "body", asked, **fields)
    return await taken(store)


@pytest.mark.parametrize("kind", ["job", "queue"])
def test_every_script_touches_one_slot_and_only_its_keys(kind):
    keys = Keys("some-prefix")
    job = new_job_id()
    declared = keys.of(job) if kind == "job" else keys.queues
    assert len({key_slot(key.encode()) for key in declared}) == 1
    names = {"job": {"JOB", "EVENTS"}, "queue": {name.upper() for name in QUEUE}}[kind]
    scripts = sources(kind)
    assert len(scripts) >= 8
    for name, text in scripts.items():
        unpacked = re.search(r"local ([A-Z, ]+) = (unpack\(KEYS\)|KEYS\[1\], KEYS\[2\])", text)
        assert unpacked is not None and len(unpacked[1].split(", ")) == len(declared)
        calls = re.findall(r"redis\.call\('(\w+)'(?:, ([^,)]+))?", text)
        touched = {key for command, key in calls if command not in ("TIME", "PUBLISH")}
        assert touched <= names | {"key"}, name  # `key` stands for one of the others


async def test_a_job_whose_place_was_not_confirmed_is_found(losing, asked, later):
    losing.queue.lost = True
    job = new_job_id()
    assert await losing.create(job, "body", asked)
    assert 0 < (await losing.claim("w")).seconds <= 20
    await later()
    assert (await losing.claim("w")).job == job
    assert isinstance(await losing.claim("w"), Idle)


async def test_asking_again_confirms_the_place(losing, asked):
    losing.queue.lost = True
    job = new_job_id()
    await losing.create(job, "body", asked)
    assert isinstance(await losing.claim("w"), Idle)
    assert not await losing.create(job, "body", asked)
    assert (await losing.claim("w")).job == job


async def test_a_place_whose_job_was_never_made_goes_and_does_not_count(jobs, asked, later, redis):
    assert await jobs.queue.reserve(new_job_id(), "t", 0, 1) is not None
    with pytest.raises(TooManyJobs):
        await jobs.create(new_job_id(), "body", asked, tenant="t", tenant_jobs=1)
    await later()
    assert isinstance(await jobs.claim("w"), Idle)
    assert await everything(redis, jobs) == {}
    assert await jobs.create(new_job_id(), "body", asked, tenant="t", tenant_jobs=1)


async def test_a_second_place_of_one_job_goes(jobs, asked, later, redis):
    job = new_job_id()
    doubled = await jobs.queue.reserve(job, "", 0, None)
    await asyncio.sleep(0.005)
    await jobs.create(job, "body", asked)
    lease = await taken(jobs)
    assert lease.place != doubled.place
    await later()
    assert isinstance(await jobs.claim("w"), Idle)
    await jobs.beat(lease)
    assert (await everything(redis, jobs))["leases"] == [lease.place]
    await jobs.finish(lease, JobStatus.COMPLETED)
    assert await everything(redis, jobs) == {}


async def test_a_job_is_not_made_when_its_place_may_be_gone(jobs, asked):
    class Slow(Losing):
        async def reserve(self, *args):
            found = await self._queue.reserve(*args)
            return Reservation(found.place, found.at_ms - 15_000)

    job, quick = new_job_id(), jobs.queue
    jobs.queue = Slow(quick)
    with pytest.raises(StoreUnavailable):
        await jobs.create(job, "body", asked)
    with pytest.raises(JobNotFound):
        await jobs.status(job)
    jobs.queue = quick
    assert await jobs.create(job, "body", asked)


async def test_a_worker_that_died_before_the_hash_was_asked_was_no_owner(jobs, asked, later):
    job = new_job_id()
    await jobs.create(job, "body", asked)
    assert (await jobs.queue.pick()).endswith(job)
    assert isinstance(await jobs.claim("w"), Idle)
    await later("leases")
    claim = await jobs.claim("w")
    assert claim.job == job and not claim.takeover


async def test_the_hash_refuses_a_second_owner_when_the_queue_lets_go_early(losing, asked, later):
    lease = await claimed(losing, asked)
    losing.queue.lost = True
    await losing.beat(lease)
    await later("leases")
    assert 20 < (await losing.claim("other")).seconds <= 30
    assert (await losing.commit(lease, "step", {}, STATE)) == 2


async def test_an_end_that_the_queue_did_not_hear_of_is_found_and_told(losing, asked, later, redis):
    told = dataclasses.replace(asked, webhook="https://example.org/hook")
    lease = await claimed(losing, told, tenant="t", tenant_jobs=1)
    losing.queue.lost = True
    await losing.finish(lease, JobStatus.COMPLETED)
    assert await losing.due_webhook(30) is None
    await later("leases")
    assert isinstance(await losing.claim("w"), Idle)
    assert await everything(redis, losing) == {"outbox": [lease.job]}
    assert await losing.due_webhook(30) == (lease.job, 0)
    losing.queue.lost = True
    await losing.webhook_sent(lease.job)
    await later("outbox")
    assert await losing.due_webhook(30) is None
    assert await everything(redis, losing) == {}


async def test_a_job_given_back_without_the_queue_hearing_of_it_goes_on(losing, asked, later):
    lease = await claimed(losing, asked)
    losing.queue.lost = True
    assert await losing.release(lease) == "released"
    assert isinstance(await losing.claim("w"), Idle)
    await later("leases")
    claim = await losing.claim("w")
    assert claim.job == lease.job and not claim.takeover


async def test_a_cancel_that_the_queue_did_not_hear_of(losing, asked, redis):
    job = new_job_id()
    await losing.create(job, "body", asked)
    losing.queue.lost = True
    assert await losing.cancel(job) is JobStatus.CANCELLED
    assert isinstance(await losing.claim("w"), Idle)
    assert await everything(redis, losing) == {}


async def test_nothing_is_left_of_jobs_that_have_ended(jobs, asked, redis):
    for tenant in ("a", "b"):
        for _ in range(3):
            await jobs.create(new_job_id(), "body", asked, tenant=tenant, tenant_jobs=3)
    await jobs.finish(await taken(jobs), JobStatus.COMPLETED)
    await jobs.finish(await taken(jobs), JobStatus.FAILED, "error", "{}", fenced=False)
    lease = await taken(jobs)
    await jobs.release(lease, failure="KeyError", pause_seconds=60)
    for key in await redis.keys("*:job"):
        await jobs.cancel(re.search(r"job_\w+", key)[0])
    assert await everything(redis, jobs) == {}


async def test_a_finished_job_keeps_no_state_and_expires(jobs, asked, redis):
    lease = await claimed(jobs, asked)
    await jobs.commit(lease, "step", {}, {"state": "S", "setup": "T"})
    for key in jobs.keys.of(lease.job):
        assert await redis.ttl(key) == -1
    await jobs.finish(lease, JobStatus.COMPLETED)
    for key in jobs.keys.of(lease.job):
        assert 90 < await redis.ttl(key) <= 100
    assert await redis.hmget(jobs.keys.job(lease.job), "state", "setup") == [None, None]


async def test_the_number_of_an_event_is_its_id_in_the_stream(jobs, asked, redis):
    lease = await claimed(jobs, asked)
    await jobs.commit(lease, "step", {}, STATE)
    assert [name for name, _ in await redis.xrange(jobs.keys.events(lease.job))] == ["1-0", "2-0"]


async def test_takeovers_and_failures_are_counted_apart(jobs, asked, redis, lapse):
    lease = await claimed(jobs, asked)
    await jobs.release(lease, failure="KeyError")
    await taken(jobs)
    await lapse(redis, jobs.keys, lease.job)
    await taken(jobs)
    assert await redis.hmget(jobs.keys.job(lease.job), "failures", "takeovers") == ["1", "1"]


async def test_a_redis_that_is_away_is_store_unavailable(own_redis, asked):
    client = connect(own_redis.url)
    store = JobStore(client)
    await store.ping()
    lease = await claimed(store, asked)
    own_redis.kill()
    for doomed in (
        store.ping(),
        store.create(new_job_id(), "body", asked),
        store.claim("w"),
        store.beat(lease),
        store.stats(),
        store.events(lease.job, 0, 1),
        store.due_webhook(1),
    ):
        with pytest.raises(StoreUnavailable):
            await doomed
    own_redis.start()
    assert await store.commit(lease, "step", {}, STATE) == 2  # from the append-only file
    assert await store.create(new_job_id(), "body", asked)
    await client.aclose()


async def test_a_full_redis_changes_nothing_and_goes_on_later(jobs, asked, redis):
    lease = await claimed(jobs, asked)
    before = await everything(redis, jobs), await redis.hgetall(jobs.keys.job(lease.job))
    commit = jobs.prepare(lease, "step", {}, STATE)
    await redis.config_set("maxmemory", "1")
    try:
        for doomed in (
            jobs.create(new_job_id(), "body", asked),
            commit.send(),
            jobs.beat(lease),
            jobs.finish(lease, JobStatus.COMPLETED),
            jobs.release(lease),
            jobs.release(lease, failure="KeyError"),
            jobs.cancel(lease.job),
        ):
            with pytest.raises(StoreUnavailable):
                await doomed
        assert (await jobs.get(lease.job)).status is JobStatus.IN_PROGRESS
    finally:
        await redis.config_set("maxmemory", "0")
    assert before == (await everything(redis, jobs), await redis.hgetall(jobs.keys.job(lease.job)))
    assert await commit.send() == 2
    await jobs.finish(lease, JobStatus.COMPLETED)
    assert await everything(redis, jobs) == {}


async def test_a_cancelled_caller_is_cancelled_whatever_the_client_library_does(jobs, asked):
    lease = await claimed(jobs, asked)
    for turns in range(12):
        task = asyncio.create_task(jobs.beat(lease))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            continue
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await jobs.beat(lease)
