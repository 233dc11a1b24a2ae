"""Keys in a real Redis: what is stored of them, and what never is."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from longfold_server.errors import KeyNotFound
from longfold_server.tenants.keys import KEY, digest
from longfold_server.tenants.limits import Rate, TenantLimits


async def test_a_key_is_found_by_its_id_and_never_stored(keys, redis):
    limits = TenantLimits(Rate(5, 60), jobs=2)
    text, key = await keys.create("  Ann  ", "team-a", limits)
    assert KEY.fullmatch(text)[1] == key.id and key.digest == digest(text)
    assert (key.name, key.tenant, key.limits, key.revoked) == ("Ann", "team-a", limits, None)
    assert await keys.find(key.id) == key and await keys.find("0" * 12) is None
    secret = text.rpartition(key.id)[2].strip("_")
    for name in await redis.keys("*"):
        held = await redis.hgetall(name) if await redis.type(name) == "hash" else await redis.smembers(name)
        assert secret not in name and secret not in str(held)


async def test_keys_differ_and_have_tenants_of_their_own(keys):
    made = [await keys.create("one") for _ in range(3)]
    assert len({text for text, _ in made}) == len({key.tenant for _, key in made}) == 3
    in_order = sorted((key for _, key in made), key=lambda key: (key.created, key.id))
    assert [key.id for key in await keys.all()] == [key.id for key in in_order]


async def test_a_revoked_key_stays_revoked_at_its_first_moment(keys):
    _, key = await keys.create("one")
    first = await keys.revoke(key.id)
    assert first.revoked is not None and await keys.revoke(key.id) == first == await keys.find(key.id)
    with pytest.raises(KeyNotFound):
        await keys.revoke("0" * 12)


@pytest.mark.parametrize(
    ("name", "tenant"),
    [
        *((name, None) for name in ("", " ", "x" * 101, "a\nb")),
        *(("a", tenant) for tenant in ("", "A", "a:b", "{a}", "a/b", "x" * 65, "static-1", "a b", "ä")),
    ],
)
async def test_names_that_are_refused(keys, redis, name, tenant):
    with pytest.raises(ValueError, match="name"):
        await keys.create(name, tenant)
    assert await redis.keys("*") == []


async def test_all_of_them_live_in_one_slot(keys, redis):
    await keys.create("one")
    await keys.create("two")
    assert len({key_slot(name.encode()) for name in await redis.keys("*")}) == 1
