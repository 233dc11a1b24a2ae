"""Turns by tenant: at a counter, and at the parsers, fetches and counts of a service."""

from __future__ import annotations

import asyncio

import pytest

from longfold_server.ending import end
from longfold_server.turns import Turns

KEYS = {"a": "the-key-of-tenant-a-long-enough", "b": "the-key-of-tenant-b-long-enough"}


async def queue(turns, served, names):
    """`names` ("a1 a2 b1") wait in this order, each for the tenant of its letter."""

    async def one(name):
        async with turns.turn(name[0]):
            served.append(name)

    tasks = []
    for name in names.split():
        tasks.append(asyncio.create_task(one(name)))
        await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize(
    ("waiting", "order"),
    [
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 a2 b1 b2 c1 a3", "a1 b1 c1 a2 b2 a3"),
    ],
)
async def test_tenants_take_turns(waiting, order):
    turns, served = Turns(1), []
    async with turns.turn("a"):
        tasks = await queue(turns, served, waiting)
        assert not served
    await asyncio.gather(*tasks)
    assert served == order.split()


async def test_as_many_as_there_are_places():
    turns, inside, most = Turns(2), 0, 0

    async def one(tenant):
        nonlocal inside, most
        async with turns.turn(tenant):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one(tenant) for tenant in "abcabcaaa"))
    assert most == 2


async def test_who_comes_late_takes_nobodys_turn():
    turns, served = Turns(1), []
    async with turns.turn("a"):
        tasks = await queue(turns, served, "b1")
    tasks += await queue(turns, served, "a1")  # the turn is b1's already
    await asyncio.gather(*tasks)
    assert served == ["b1", "a1"]


async def test_who_gives_up_takes_nobodys_turn():
    turns, served = Turns(1), []
    async with turns.turn("a"):
        tasks = await queue(turns, served, "a1 b1 c1 a2")
        await end(tasks[1])
        tasks[2].cancel()  # and has not heard of it when the turn ends
    tasks[0].cancel()  # the turn is its own already
    await asyncio.wait(tasks)
    assert served == ["a2"]
    async with asyncio.timeout(5), turns.turn("c"):
        pass


async def test_parsers_fetches_and_counts_are_shared_by_turns(start, until, tmp_path):
    (tmp_path / "files").mkdir()
    for number in range(3):
        (tmp_path / "files" / f"{number}.txt").write_text(f"The number is {number}.")
    async with start(api_keys=list(KEYS.values()), fetch_file_root=tmp_path / "files") as service:
        held = service.app.state.resources
        held.fetching, held.documents._sandbox._turns = Turns(1), Turns(1)

        async def ask(tenant, method, path, **content):
            headers = {"Authorization": f"Bearer {KEYS[tenant]}", "Content-Type": "text/html"}
            reply = await service.client.request(method, path, headers=headers | content.pop("headers", {}), **content)
            assert reply.is_success, reply.text
            return reply.json()

        async def apart(turns, requests):
            """The replies; the requests have waited for their turns tenant by tenant."""
            async with turns.turn("another"):
                tasks = [asyncio.create_task(ask(*request, **content)) for request, content in requests]

                async def all_wait():
                    return sum(map(len, turns._waiting.values())) == len(tasks)

                await until(all_wait)
                assert sorted(map(len, turns._waiting.values())) == [1, 2]
            return await asyncio.gather(*tasks)

        pages = [
            ((tenant, "POST", "/documents"), {"content": f"<p>Page {number}."}) for number, tenant in enumerate("aab")
        ]
        taken = await apart(held.documents._sandbox._turns, pages)
        urls = [{"url": f"file://{tmp_path}/files/{number}.txt"} for number in range(3)]
        as_json = {"headers": {"Content-Type": "application/json"}}
        fetches = [
            ((tenant, "POST", "/documents/fetch"), {"json": url} | as_json)
            for tenant, url in zip("aab", urls, strict=True)
        ]
        await apart(held.fetching, fetches)
        counts = [
            ((tenant, "GET", f"/documents/{info['document_id']}"), {})
            for tenant, info in zip("aab", taken, strict=True)
        ]
        previews = await apart(held.previews._counting, counts)
        assert [preview["tokens"] for preview in previews] == [2, 2, 2]
