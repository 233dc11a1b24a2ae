from __future__ import annotations

import asyncio

from longfold_server.ingest.hosts import Hosts


async def test_turns_are_kept_by_host_and_forgotten_when_nobody_waits() -> None:
    hosts, order = Hosts(1), []

    async def ask(host: str, name: str, go: asyncio.Event) -> None:
        async with hosts.turn(host):
            order.append(name)
            await go.wait()

    first, second, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(ask("a", "first", first)),
        asyncio.create_task(ask("a", "second", second)),
        asyncio.create_task(ask("b", "other", other)),
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (order, len(hosts)) == (["first", "other"], 2)
    first.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["first", "other", "second"]
    other.set()
    tasks[1].cancel()  # a holder that is dropped gives its turn back
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(hosts) == 0
