"""Counters in a real Redis: the window is exact, also between replicas, and the day ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from longfold_client.types import DocumentInfo
from longfold_server.errors import StoreUnavailable
from longfold_server.jobs.connection import connect
from longfold_server.tenants.limits import Rate
from longfold_server.tenants.meter import Meter
from longfold_server.tenants.owners import Owners
from longfold_server.tenants.salt import Salts
from longfold_server.tenants.usage import Usage

DOCUMENT = "doc_" + "0" * 64
BROUGHT = DocumentInfo(
    document_id=DOCUMENT, title="A", url="https://a.example/", media_type="text/plain", bytes=5, characters=4, sha256=""
)


@pytest.fixture
def usage(redis) -> Usage:
    return Usage(redis)


async def test_no_window_holds_more_than_the_rate(usage, redis_url):
    """Two replicas ask as fast as they can; whatever second is looked at holds at most 20 of the admitted."""
    other = connect(redis_url)
    rate, admitted = Rate(20, 1), []

    async def asking(counter):
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            began = time.monotonic()
            if (await counter.request("k", rate)).admitted:
                admitted.append((began, time.monotonic()))

    await asyncio.gather(asking(usage), asking(Usage(other)))
    await other.aclose()
    assert len(admitted) >= 40
    admitted.sort()
    for first, later in zip(admitted, admitted[20:], strict=False):
        # A request is counted between its sending and its reply, so the 21st was replied to a second after the first
        # was sent.
        assert later[1] - first[0] >= 1.0


async def test_the_standing_tells_what_is_left_and_when(usage):
    rate = Rate(2, 60)
    told = [await usage.request("k", rate) for _ in range(4)]
    assert [(one.admitted, one.left) for one in told] == [(True, 1), (True, 0), (False, 0), (False, 0)]
    assert all(0 < one.seconds <= 60 for one in told)
    assert (await usage.request("another", rate)).admitted
    assert not (await usage.request("k", Rate(1, 60))).admitted
    assert (await usage.request("k", Rate(3, 60))).admitted


async def test_what_is_refused_takes_no_place(usage):
    rate = Rate(1, 1)
    assert (await usage.request("k", rate)).admitted
    refused = 0
    while not (standing := await usage.request("k", rate)).admitted:
        refused += 1
        assert 0 < standing.seconds <= 1
        await asyncio.sleep(0.05)
    assert refused > 3


async def test_tokens_are_counted_per_tenant_and_day(usage, redis):
    assert (await usage.spend("a", 0)).spent == 0
    assert await redis.keys("*") == []
    await usage.spend("a", 70)
    day = await usage.spend("a", 30)
    assert day.spent == (await usage.spend("a", 0)).spent == 100 and 0 < day.seconds <= 86_400
    assert (await usage.spend("b", 0)).spent == 0
    await redis.hincrby("lf:{tenant:a}:tokens", "day", -1)
    assert (await usage.spend("a", 0)).spent == 0 and (await usage.spend("a", 5)).spent == 5


async def test_a_meter_tells_each_token_once_and_later_what_it_could_not(own_redis):
    client = connect(own_redis.url)
    await client.config_set("appendfsync", "always")  # what was told before the kill must be there afterwards
    usage, used = Usage(client), 40
    meter = Meter(usage, "a", lambda: used)
    await asyncio.gather(meter.tell(), meter.tell())
    assert (await usage.spend("a", 0)).spent == 40
    own_redis.kill()
    used = 100
    await meter.tell()
    own_redis.start()
    used = 130
    await meter.tell()
    await meter.tell()
    assert (await usage.spend("a", 0)).spent == 130
    await client.aclose()


async def test_a_store_that_is_away_is_told_as_such(own_redis):
    client = connect(own_redis.url)
    own_redis.kill()
    for call in (
        Usage(client).request("k", Rate(1, 1)),
        Usage(client).spend("a", 1),
        Owners(client, retention_seconds=9).owns("a", DOCUMENT),
        Owners(client, retention_seconds=9).add("a", BROUGHT),
        Owners(client, retention_seconds=9).facts("a", DOCUMENT),
        Owners(client, retention_seconds=9).used(DOCUMENT),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await client.aclose()


async def test_a_document_belongs_to_those_who_brought_it(redis):
    owners = Owners(redis, retention_seconds=1)
    await owners.add("a", BROUGHT)
    assert await owners.owns("a", DOCUMENT) and not await owners.owns("b", DOCUMENT)
    await owners.add("b", BROUGHT.model_copy(update={"title": "Mine"}))
    assert await owners.owns("b", DOCUMENT)
    assert [(await owners.facts(who, DOCUMENT)) for who in "abc"] == [
        BROUGHT, BROUGHT.model_copy(update={"title": "Mine"}), None,
    ]  # fmt: skip
    await asyncio.sleep(0.6)
    assert await owners.owns("b", DOCUMENT)  # used, so kept for another second
    await asyncio.sleep(0.6)
    assert not await owners.owns("a", DOCUMENT) and await owners.owns("b", DOCUMENT)


async def test_without_keys_every_document_is_everybodys(redis):
    owners = Owners(redis, retention_seconds=1)
    assert await owners.owns("", DOCUMENT) and await owners.facts("", DOCUMENT) is None
    await owners.add("", BROUGHT)
    assert await owners.owns("", DOCUMENT) and await owners.facts("", DOCUMENT) == BROUGHT


async def test_a_text_is_in_use_while_anybody_used_it_lately(redis):
    owners = Owners(redis, retention_seconds=1)
    assert not await owners.used(DOCUMENT)
    await owners.add("a", BROUGHT)
    for _ in range(3):
        await asyncio.sleep(0.4)
        assert await owners.owns("a", DOCUMENT) and not await owners.owns("b", DOCUMENT)
    assert await owners.used(DOCUMENT)
    await asyncio.sleep(1.2)
    assert not await owners.used(DOCUMENT) and not await owners.owns("a", DOCUMENT)
    await owners.use(DOCUMENT)  # by a job
    assert await owners.used(DOCUMENT) and not await owners.owns("a", DOCUMENT)


def test_salts_tell_tenants_apart_and_nothing_else():
    salts = Salts(b"secret")
    assert salts.of("") == "" and salts.of("a") == Salts(b"secret").of("a")
    assert len({salts.of("a"), salts.of("b"), Salts(b"other").of("a")}) == 3
