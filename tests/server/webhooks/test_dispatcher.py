"""Deliveries from the outbox of a real Redis to a real receiver."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from standardwebhooks import Webhook

from longfold_client.types import JobStatus
from longfold_server.drain import Drain
from longfold_server.metrics import Metrics
from longfold_server.webhooks import dispatcher as module
from longfold_server.webhooks.dispatcher import Dispatcher
from longfold_server.webhooks.signing import Signer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUICK = (0.01, 0.01, 0.01)


class Running:
    """A dispatcher at work, and its counters."""

    def __init__(self, store, sender, pauses):
        self.metrics, self.drain = Metrics(), Drain()
        signer = Signer([SECRET])
        self.dispatcher = Dispatcher(store, sender, signer, self.metrics, self.drain, pauses=pauses)

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("longfold_webhooks_total", {"outcome": outcome}) or 0.0


@asynccontextmanager
async def running(store, sender, pauses=QUICK) -> AsyncIterator[Running]:
    made = Running(store, sender, pauses)
    task = asyncio.create_task(made.dispatcher.run())
    try:
        yield made
    finally:
        made.drain.begin()
        await task
        await sender.aclose()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)


async def told(store) -> bool:
    return (await store.stats()).webhooks == 0


async def test_failures_then_success_with_one_id_and_good_signatures(store, sender, receiver, ended, until):
    receiver.statuses.extend([500, 302, 429])
    job = await ended(store, receiver.url("/hook?token=t"))
    async with running(store, sender("127.0.0.0/8")) as at_work:
        await until(lambda: told(store))
        assert (at_work.count("failed"), at_work.count("sent")) == (3, 1)
    assert [path for path, _, _ in receiver.seen] == ["/hook?token=t"] * 4  # the redirect was not followed
    assert {headers["webhook-id"] for _, headers, _ in receiver.seen} == {"msg_" + job.removeprefix("job_")}
    for _, headers, body in receiver.seen:
        event = Webhook(SECRET).verify(body, headers)
        assert event["type"] == "job.completed" and event["data"]["id"] == job
        assert event["data"]["result"]["answer"] == "in 1871" and headers["content-type"] == "application/json"


async def test_every_end_is_told(store, sender, receiver, ended, until):
    for status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED):
        await ended(store, receiver.url(), status)
    async with running(store, sender("127.0.0.0/8")):
        await until(lambda: told(store))
    events = [json.loads(body) for _, _, body in receiver.seen]
    assert sorted(event["type"] for event in events) == ["job.cancelled", "job.completed", "job.failed"]
    [failed] = [event for event in events if event["type"] == "job.failed"]
    assert failed["data"]["error"]["code"] == "engine_unavailable"


async def test_a_tenant_verifies_with_a_secret_of_its_own(store, sender, receiver, ended, until):
    await ended(store, receiver.url(), tenant="acme")
    async with running(store, sender("127.0.0.0/8")):
        await until(lambda: told(store))
    [(_, headers, body)] = receiver.seen
    [secret] = Signer([SECRET]).secrets("acme")
    Webhook(secret).verify(body, headers)


async def test_410_ends_it(store, sender, receiver, ended, until):
    receiver.statuses.append(410)
    await ended(store, receiver.url())
    async with running(store, sender("127.0.0.0/8")) as at_work:
        await until(lambda: told(store))
        assert at_work.count("gone") == 1
    assert len(receiver.seen) == 1


async def test_it_gives_up_after_the_last_pause(store, sender, receiver, ended, until):
    receiver.statuses.extend([500] * 9)
    await ended(store, receiver.url())
    async with running(store, sender("127.0.0.0/8"), pauses=QUICK) as at_work:
        await until(lambda: told(store))
        assert (at_work.count("failed"), at_work.count("given_up")) == (3, 1)
    assert len(receiver.seen) == 4


async def test_a_receiver_that_asks_for_time_gets_it(store, redis, sender, receiver, ended, until):
    receiver.statuses.append(503)
    receiver.retry_after = "3600"
    job = await ended(store, receiver.url())
    async with running(store, sender("127.0.0.0/8")) as at_work:

        async def tried() -> bool:
            return at_work.count("failed") == 1

        await until(tried)
    due = await redis.zscore(store.keys.queue("outbox"), job)
    assert due / 1000 > time.time() + 3500


async def test_private_addresses_are_not_reached(store, sender, receiver, ended, until):
    for url in (receiver.url(), receiver.url().replace("127.0.0.1", "localhost"), "http://169.254.169.254/latest"):
        await ended(store, url)
    async with running(store, sender()) as at_work:
        await until(lambda: told(store))
        assert at_work.count("blocked") == 3
    assert receiver.seen == []


async def test_a_receiver_that_is_down_is_tried_again(store, sender, receiver, ended, until):
    await ended(store, "http://127.0.0.1:1/hook")
    async with running(store, sender("127.0.0.0/8")) as at_work:
        await until(lambda: told(store))
        assert (at_work.count("failed"), at_work.count("given_up")) == (3, 1)


async def test_a_job_that_cannot_be_read_is_given_up_like_any_other(store, sender, receiver, ended, until):
    """What another version has written, say."""
    await ended(store, receiver.url(), result="{}")
    async with running(store, sender("127.0.0.0/8")) as at_work:
        await until(lambda: told(store))
        assert (at_work.count("failed"), at_work.count("given_up")) == (3, 1)
    assert receiver.seen == []


async def test_an_entry_that_cannot_be_taken_ends_nothing(store, redis, sender, receiver, ended, until):
    bad = await ended(store, receiver.url("/bad"))
    await redis.delete(store.keys.job(bad))
    await redis.set(store.keys.job(bad), "no hash")
    await ended(store, receiver.url("/good"))
    async with running(store, sender("127.0.0.0/8")) as at_work:

        async def sent() -> bool:
            return at_work.count("sent") == 1

        await until(sent)
    assert [path for path, _, _ in receiver.seen] == ["/good"]


async def test_a_slow_receiver_holds_up_nobody(store, sender, receiver, ended, until):
    await ended(store, receiver.url("/slow"))
    async with running(store, sender("127.0.0.0/8")) as at_work:

        async def reached() -> bool:
            return len(receiver.seen) == 1

        await until(reached)
        await ended(store, receiver.url("/quick"))

        async def only_the_slow_one_is_left() -> bool:
            return (await store.stats()).webhooks == 1

        await until(only_the_slow_one_is_left)
        assert at_work.count("sent") == 1
        receiver.held.set()
        await until(lambda: told(store))


async def test_a_tenant_whose_receiver_hangs_holds_up_no_other(
    store, redis, sender, receiver, ended, until, monkeypatch
):
    monkeypatch.setattr(module, "AT_ONCE", 4)
    monkeypatch.setattr(module, "TENANT_AT_ONCE", 1)
    monkeypatch.setattr(module, "TENANT_PAUSE_SECONDS", 0.5)
    hanging = [await ended(store, receiver.url("/slow"), tenant="one") for _ in range(6)]
    await ended(store, receiver.url("/quick"), tenant="two")
    async with running(store, sender("127.0.0.0/8")) as at_work:

        async def only_the_hanging_ones_are_left() -> bool:
            return (await store.stats()).webhooks == len(hanging)

        await until(only_the_hanging_ones_are_left)
        await asyncio.sleep(0.7)  # so that those over the share are taken a second time
        assert [path for path, _, _ in receiver.seen].count("/slow") == 1
        receiver.held.set()
        await until(lambda: told(store))
        assert (at_work.count("sent"), at_work.count("failed")) == (7, 0)
        assert at_work.dispatcher._sending == {}
    assert await redis.hgetall(store.keys.queue("attempts")) == {}


async def test_what_a_lost_process_held_is_sent_by_another(store, redis, sender, receiver, ended, until):
    job = await ended(store, receiver.url("/slow"))
    lost = Running(store, sender("127.0.0.0/8"), QUICK)
    task = asyncio.create_task(lost.dispatcher.run())

    async def reached() -> bool:
        return len(receiver.seen) == 1

    await until(reached)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    receiver.held.set()
    await redis.zadd(store.keys.queue("outbox"), {job: 0})  # the lease ends
    async with running(store, sender("127.0.0.0/8")):
        await until(lambda: told(store))
    assert len(receiver.seen) == 2 and len({headers["webhook-id"] for _, headers, _ in receiver.seen}) == 1


async def test_jobs_without_a_webhook_are_told_to_nobody(store, sender, receiver, ended, until):
    await ended(store, "")
    assert (await store.stats()).webhooks == 0 and await store.due_webhook(1.0) is None
