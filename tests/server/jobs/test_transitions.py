"""Every transition of a job, with the store in Redis and with its twin in memory."""

from __future__ import annotations

import dataclasses
import json

import pytest

from longfold_client.types import JobStatus
from longfold_server.errors import IdempotencyMismatch, JobCancelled, JobNotFound, LeaseLost, TooManyJobs
from longfold_server.jobs.records import Claim, Ended, Idle, Lease, new_job_id

STATE = {"state": "{}"}
ERROR = json.dumps({"title": "t", "status": 500, "detail": "d", "code": "c"})


async def made(store, asked, **fields):
    job = new_job_id()
    assert await store.create(job, "body", asked, **fields)
    return job


async def taken(store):
    claim = await store.claim("w")
    assert isinstance(claim, Claim)
    return Lease(claim)


async def claimed(store, asked, **fields):
    job = await made(store, asked, **fields)
    lease = await taken(store)
    assert lease.job == job
    return lease


async def idle(store):
    return isinstance(await store.claim("w"), Idle)


async def test_create_is_idempotent_by_key_and_body(store, asked):
    job = new_job_id("key", "scope")
    assert job == new_job_id("key", "scope") != new_job_id("key", "other scope") != new_job_id("other key", "scope")
    assert await store.create(job, "body", asked)
    assert not await store.create(job, "body", asked)
    with pytest.raises(IdempotencyMismatch):
        await store.create(job, "other body", asked)
    assert [event.kind for event in await store.events(job, 0, 10)] == ["created"]
    lease = await taken(store)
    assert not await store.create(job, "body", asked)
    await store.finish(lease, JobStatus.COMPLETED)
    assert not await store.create(job, "body", asked)
    assert await idle(store)


async def test_credentials_come_with_every_claim_until_the_job_has_ended(store, asked, redis):
    secret = {"https://example.com": {"Authorization": "Bearer hunter2"}}
    job = await made(store, dataclasses.replace(asked, credentials=secret))
    assert "hunter2" not in repr(asked) + dataclasses.replace(asked, credentials=secret).to_json()
    claim = await store.claim("w")
    assert claim.request.credentials == secret and "hunter2" not in repr(claim)
    await store.release(Lease(claim))
    again = await store.claim("w")
    assert (again.job, again.request.credentials) == (job, secret)
    await store.finish(Lease(again), JobStatus.FAILED, "error", ERROR)
    assert "hunter2" not in repr(await redis.hgetall(store.keys.job(job)))
    waiting = await made(store, dataclasses.replace(asked, credentials=secret))
    await store.cancel(waiting)
    assert "hunter2" not in repr(await redis.hgetall(store.keys.job(waiting)))


async def test_scope_and_key_are_not_mixed_up():
    assert new_job_id("bc", "a") != new_job_id("c", "ab")
    assert new_job_id("1:a:b", "") != new_job_id("b", "1:a")


async def test_random_ids_differ():
    assert len({new_job_id() for _ in range(100)}) == 100


async def test_claim_gives_the_oldest_and_carries_the_request(store, where, asked):
    first = await made(store, asked)
    await where.wait(0.005)
    second = await made(store, asked)
    one, two = await store.claim("w"), await store.claim("w")
    assert (one.job, two.job) == (first, second) and one.token != two.token and len(one.token) == 32
    assert one.request == asked and one.state is None and one.gen == 0 and not one.takeover and one.tenant == ""
    assert await idle(store)
    assert (await store.get(first)).status is JobStatus.IN_PROGRESS
    assert (await store.get(first)).started_at is not None


async def test_the_higher_priority_goes_first(store, where, asked):
    order = []
    for priority in (0, 9, 3, 9, 0):
        order.append((9 - priority, len(order), await made(store, asked, priority=priority)))
        await where.wait(0.005)
    assert [(await taken(store)).job for _ in order] == [job for _, _, job in sorted(order)]


async def test_a_priority_or_a_tenant_out_of_range_is_refused(store, asked):
    for wrong in ({"priority": 10}, {"priority": -1}, {"tenant": "a/b"}):
        with pytest.raises(ValueError, match="priority"):
            await store.create(new_job_id(), "body", asked, **wrong)


async def test_tenants_take_turns(store, where, asked):
    tenants = {}
    for tenant in ("a", "a", "a", "a-b", "b", "b", ""):
        tenants[await made(store, asked, tenant=tenant, priority=9 if tenant == "a" else 0)] = tenant
        await where.wait(0.002)
    served = [tenants[(await taken(store)).job] for _ in tenants]
    assert sorted(served[:4]) == ["", "a", "a-b", "b"]
    assert sorted(served[4:6]) == ["a", "b"] and served[6] == "a"


async def test_a_tenant_at_its_limit_is_passed_over_and_goes_on_when_a_job_ends(where, asked):
    store = where.store(tenant_running=2)
    for _ in range(4):
        await made(store, asked, tenant="greedy")
    other = await made(store, asked, tenant="small")
    leases = [await taken(store) for _ in range(3)]
    assert other in {lease.job for lease in leases} and await idle(store)
    mine = [lease for lease in leases if lease.job != other]
    await store.finish(mine[0], JobStatus.COMPLETED)
    after = await taken(store)
    assert await idle(store)
    await store.release(after)
    assert (await taken(store)).job == after.job and await idle(store)
    await where.expire(store, mine[1].job)
    again = await store.claim("w")
    assert again.takeover and again.job == mine[1].job  # what runs already may go on


async def test_a_tenant_may_have_so_many_unfinished_jobs(store, asked):
    running = await claimed(store, asked, tenant="t", tenant_jobs=2)
    waiting = await made(store, asked, tenant="t", tenant_jobs=2)
    for _ in range(2):
        with pytest.raises(TooManyJobs):
            await store.create(new_job_id(), "body", asked, tenant="t", tenant_jobs=2)
    assert not await store.create(waiting, "body", asked, tenant="t", tenant_jobs=2)
    assert await store.create(new_job_id(), "body", asked, tenant="other", tenant_jobs=1)
    await store.finish(running, JobStatus.COMPLETED)
    await made(store, asked, tenant="t", tenant_jobs=2)
    with pytest.raises(TooManyJobs):
        await store.create(new_job_id(), "body", asked, tenant="t", tenant_jobs=2)
    await store.cancel(waiting)
    assert not await store.create(waiting, "body", asked, tenant="t", tenant_jobs=2)
    await made(store, asked, tenant="t", tenant_jobs=2)


async def test_a_poisoned_job_does_not_count_against_its_tenant(store, asked, expire):
    lease = await claimed(store, asked, tenant="t", tenant_jobs=1)
    for _ in range(2):
        await store.release(lease, failure="KeyError")
        lease = await taken(store)
    assert await store.release(lease, failure="KeyError") == "failed"
    lease = await claimed(store, asked, tenant="t", tenant_jobs=1)
    for _ in range(2):
        await expire(lease.job)
        await taken(store)
    await expire(lease.job)
    assert await store.claim("w") == Ended(lease.job, JobStatus.FAILED)
    assert await made(store, asked, tenant="t", tenant_jobs=1)


async def test_another_tenants_job_is_not_there(store, asked):
    lease = await claimed(store, asked, tenant="mine")
    for ask in (store.get, store.status, store.cancel):
        with pytest.raises(JobNotFound):
            await ask(lease.job, tenant="theirs")
        with pytest.raises(JobNotFound):
            await ask(lease.job, tenant="")
    for doomed in (store.events(lease.job, 0, 10, tenant="theirs"), store.event(lease.job, 1, tenant="theirs")):
        with pytest.raises(JobNotFound):
            await doomed
    with pytest.raises(IdempotencyMismatch):
        await store.create(lease.job, "body", asked, tenant="theirs")
    assert (await store.get(lease.job, tenant="mine")).status is JobStatus.IN_PROGRESS
    assert len(await store.events(lease.job, 0, 10, tenant="mine")) == 1
    assert (await store.event(lease.job, 1, tenant="mine")).kind == "created"
    assert await store.event(lease.job, 2, tenant="mine") is None
    await store.beat(lease)  # it was not cancelled
    assert await store.cancel(lease.job, tenant="mine") is JobStatus.IN_PROGRESS


async def test_idle_tells_when_a_lease_or_a_pause_ends(store, asked):
    assert (await store.claim("w")).seconds == float("inf")
    lease = await claimed(store, asked)
    assert 20 < (await store.claim("w")).seconds <= 30
    await store.release(lease, failure="KeyError", pause_seconds=5)
    assert 2 < (await store.claim("w")).seconds <= 5


async def test_commit_writes_state_progress_and_event_together(store, asked, expire):
    lease = await claimed(store, asked)
    seq = await store.commit(lease, "step", {"n": 1}, {"state": '{"a":1}', "progress": '{"chunks_read":1}'})
    assert (seq, lease.gen, lease.seq) == (2, 1, 2)
    [event] = await store.events(lease.job, 1, 10)
    assert (event.seq, event.kind, event.data) == (2, "step", {"n": 1})
    assert (await store.get(lease.job)).progress.chunks_read == 1
    await expire(lease.job)
    assert (await store.claim("w")).state == '{"a":1}'


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
    assert isinstance(claim, Claim)
    assert claim.takeover and claim.gen == 1 and claim.state == '{"at":1}' and claim.seq == 2
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
    await made(store, asked)
    await expire(lease.job)
    assert (await store.claim("w")).job == lease.job


async def test_a_stale_generation_is_refused_although_the_token_fits(store, asked):
    lease = await claimed(store, asked)
    behind = store.prepare(lease, "step", {}, STATE)
    await store.commit(lease, "step", {}, STATE)
    with pytest.raises(LeaseLost):
        await behind.send()


async def test_beat_extends_the_lease(store, asked, expire):
    lease = await claimed(store, asked)
    await expire(lease.job)
    await store.beat(lease)
    assert 20 < (await store.claim("w")).seconds <= 30
    await store.commit(lease, "step", {}, STATE)


async def test_a_lease_ends_by_itself(where, asked):
    store = where.store(lease_seconds=0.05)
    lease = await claimed(store, asked)
    await where.wait(0.1)
    assert (await store.claim("w")).takeover
    with pytest.raises(LeaseLost):
        await store.beat(lease)


async def test_cancel_of_a_waiting_job_ends_it_at_once(store, asked):
    job = await made(store, asked)
    assert await store.cancel(job) is JobStatus.CANCELLED
    assert await store.cancel(job) is JobStatus.CANCELLED
    assert await idle(store)
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
    assert await store.claim("w") == Ended(dead.job, JobStatus.CANCELLED)
    assert await idle(store)
    assert (await store.get(dead.job)).status is JobStatus.CANCELLED
    leaving = await claimed(store, asked)
    await store.cancel(leaving.job)
    assert await store.release(leaving) == "cancelled"


async def test_release_gives_back_with_the_state_and_without_counting(store, asked):
    lease = await claimed(store, asked)
    for _ in range(5):  # more often than it may fail or be taken over
        await store.commit(lease, "step", {}, {"state": "S"})
        assert await store.release(lease) == "released"
        with pytest.raises(LeaseLost):
            await store.commit(lease, "step", {}, STATE)
        again = await store.claim("w")
        assert again.job == lease.job and again.state == "S" and again.gen == lease.gen and not again.takeover
        lease = Lease(again)


async def test_the_last_word_may_be_said_twice(store, asked):
    lease = await claimed(store, asked)
    await store.finish(lease, JobStatus.COMPLETED, progress='{"chunks_read":1}')
    await store.finish(lease, JobStatus.COMPLETED, progress='{"chunks_read":1}')
    with pytest.raises(LeaseLost):
        await store.finish(lease, JobStatus.FAILED, "error", ERROR)
    assert [event.kind for event in await store.events(lease.job, 0, 10)] == ["created", "completed"]
    lease = await claimed(store, asked)
    assert await store.release(lease, failure="KeyError") == await store.release(lease, failure="KeyError")
    lease = await taken(store)
    await store.release(lease, failure="KeyError")
    lease = await taken(store)  # two failures, not four
    assert await store.release(lease, failure="KeyError") == await store.release(lease, failure="KeyError") == "failed"
    assert [event.kind for event in await store.events(lease.job, 0, 10)] == ["created", "failed"]


async def test_three_failures_end_a_poisoned_job_and_its_steps_stay(store, asked):
    lease = await claimed(store, asked)
    await store.commit(lease, "step", {}, STATE)
    for _ in range(2):
        assert await store.release(lease, failure="KeyError") == "released"
        lease = await taken(store)
    assert await store.release(lease, failure="KeyError") == "failed"
    job = await store.get(lease.job)
    assert job.status is JobStatus.FAILED and job.error.code == "job_poisoned" and "KeyError" in job.error.detail
    assert await idle(store)
    assert [event.kind for event in await store.events(lease.job, 0, 10)] == ["created", "step", "failed"]


async def test_a_failed_attempt_pauses_before_the_next(store, where, asked):
    lease = await claimed(store, asked)
    await store.release(lease, failure="KeyError", pause_seconds=1)
    assert await idle(store) and (await store.stats()).ready == 1
    await where.wait(1.1)
    assert (await store.claim("w")).job == lease.job


async def test_a_job_that_kills_its_workers_ends(store, asked, expire):
    lease = await claimed(store, asked)
    for _ in range(2):
        await expire(lease.job)
        assert (await store.claim("w")).job == lease.job
    await expire(lease.job)
    assert await store.claim("w") == Ended(lease.job, JobStatus.FAILED)
    assert await idle(store)
    assert (await store.get(lease.job)).error.code == "job_poisoned"


async def test_takeovers_with_progress_are_not_counted_against_a_job(store, asked, expire):
    lease = await claimed(store, asked)
    for _ in range(8):
        await store.commit(lease, "step", {}, STATE)
        await expire(lease.job)
        lease = await taken(store)
    assert (await store.get(lease.job)).status is JobStatus.IN_PROGRESS


async def test_finished_jobs_are_gone_after_their_retention(where, asked):
    store = where.store(retention_seconds=1)
    waiting = await made(store, asked)
    lease = await taken(store)
    await store.finish(lease, JobStatus.FAILED, "error", ERROR)
    assert (await store.get(lease.job)).error.code == "c"
    stats = await store.stats()
    assert (stats.ready, stats.leased) == (0, 0)
    kept = await made(store, asked)
    await where.wait(1.1)
    for ask in (store.get, store.status, store.cancel):
        with pytest.raises(JobNotFound):
            await ask(waiting)
    assert await store.events(waiting, 0, 10) == []
    assert (await store.get(kept)).status is JobStatus.QUEUED  # only an end starts the clock


async def test_unknown_jobs(store):
    for job in ("job_" + "0" * 32, "job_x", "", "../etc", "job_" + "0" * 32 + "}"):
        for ask in (store.get, store.status, store.cancel):
            with pytest.raises(JobNotFound):
                await ask(job)
    with pytest.raises(JobNotFound):
        await store.webhook("job_" + "0" * 32)


async def test_stats_count_and_tell_the_longest_wait(store, where, asked):
    assert (await store.stats()).oldest_seconds == 0
    first = await made(store, asked)
    await where.wait(0.05)
    await made(store, asked)
    stats = await store.stats()
    assert 0.04 < stats.oldest_seconds < 5 and (stats.ready, stats.leased, stats.webhooks) == (2, 0, 0)
    lease = await taken(store)
    assert lease.job == first
    await where.wait(0.1)
    await store.release(lease)  # waits anew
    second = await taken(store)
    assert second.job == first
    stats = await store.stats()
    assert stats.oldest_seconds > 0.09 and (stats.ready, stats.leased) == (1, 1)


@pytest.fixture
def told(asked):
    """A request whose end somebody wants to be told."""
    return dataclasses.replace(asked, webhook="https://example.org/hook")


async def ends(store, told, expire):
    """A job ended in each way there is."""
    lease = await claimed(store, told)
    await store.finish(lease, JobStatus.COMPLETED)
    yield lease.job
    lease = await claimed(store, told)
    await store.finish(lease, JobStatus.FAILED, "error", ERROR, fenced=False)
    yield lease.job
    job = await made(store, told)
    await store.cancel(job)
    yield job
    lease = await claimed(store, told)
    await store.cancel(lease.job)
    await store.finish(lease, JobStatus.CANCELLED, fenced=False)
    yield lease.job
    lease = await claimed(store, told)
    await store.cancel(lease.job)
    await store.release(lease)
    yield lease.job
    lease = await claimed(store, told)
    await store.cancel(lease.job)
    await expire(lease.job)
    assert await store.claim("w") == Ended(lease.job, JobStatus.CANCELLED)
    yield lease.job
    lease = await claimed(store, told)
    for _ in range(2):
        await store.release(lease, failure="KeyError")
        lease = await taken(store)
    await store.release(lease, failure="KeyError")
    yield lease.job
    lease = await claimed(store, told)
    for _ in range(3):
        await expire(lease.job)
        await store.claim("w")
    yield lease.job


async def test_every_end_is_owed_to_the_webhook_once(store, told, expire, where):
    count = 0
    async for job in ends(store, told, expire):
        assert (await store.stats()).webhooks == 1
        assert await store.due_webhook(30) == (job, 0)
        assert await store.due_webhook(30) is None
        assert await store.webhook(job) == ("https://example.org/hook", "")
        await store.webhook_sent(job)
        await store.webhook_sent(job)
        await store.cancel(job)
        assert (await store.stats()).webhooks == 0
        count += 1
    assert count == 8


async def test_without_a_webhook_nothing_is_owed(store, asked):
    await store.finish(await claimed(store, asked), JobStatus.COMPLETED)
    assert await store.due_webhook(30) is None


async def test_a_webhook_is_due_again_when_it_failed_or_its_sender_died(store, told, where):
    lease = await claimed(store, told)
    assert await store.due_webhook(30) is None
    await store.finish(lease, JobStatus.COMPLETED)
    assert await store.due_webhook(0.05) == (lease.job, 0)
    await where.wait(0.1)
    assert await store.due_webhook(30) == (lease.job, 1)  # who took it first is late
    await store.webhook_failed(lease.job, 0, 0.0)
    assert await store.due_webhook(30) is None
    await store.webhook_failed(lease.job, 1, 1.0)
    assert await store.due_webhook(30) is None
    await where.wait(1.1)
    assert await store.due_webhook(30) == (lease.job, 2)
    await store.webhook_failed(lease.job, 2, None)
    await store.webhook_failed(lease.job, 2, 0.0)
    assert await store.due_webhook(30) is None and (await store.stats()).webhooks == 0


async def test_webhooks_come_in_the_order_in_which_they_are_due(store, told, where):
    jobs = []
    for _ in range(3):
        lease = await claimed(store, told, tenant="t")
        await store.finish(lease, JobStatus.COMPLETED)
        await where.wait(0.005)
        jobs.append(lease.job)
    assert [(await store.due_webhook(30))[0] for _ in jobs] == jobs
    assert (await store.webhook(jobs[0]))[1] == "t"


async def test_a_webhook_that_is_postponed_was_not_tried(store, told, where):
    lease = await claimed(store, told)
    await store.finish(lease, JobStatus.CANCELLED)
    assert await store.due_webhook(30) == (lease.job, 0)
    await store.webhook_postponed(lease.job, 0, 1.0)
    assert await store.due_webhook(30) is None
    await where.wait(1.1)
    assert await store.due_webhook(0.05) == (lease.job, 0)
    await where.wait(0.1)
    assert await store.due_webhook(30) == (lease.job, 1)
    await store.webhook_postponed(lease.job, 0, 0.0)  # of who took it first, and is late
    assert await store.due_webhook(30) is None
    await store.webhook_sent(lease.job)
    await store.webhook_postponed(lease.job, 1, 0.0)
    assert await store.due_webhook(30) is None and (await store.stats()).webhooks == 0
