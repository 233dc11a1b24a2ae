"""Jobs on a real Redis Cluster of three primaries: every script on the node of its slot."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as sync_redis
from redis.crc import key_slot

from longfold_client.types import DocumentInfo, JobStatus
from longfold_server.ending import end
from longfold_server.errors import ConfigError, StoreUnavailable
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.connection import check_redis, connect
from longfold_server.jobs.records import Claim, Idle, Lease, new_job_id
from longfold_server.jobs.store import JobStore
from longfold_server.stack.redis import find_server
from longfold_server.tenants.keys import KeyStore
from longfold_server.tenants.limits import Rate
from longfold_server.tenants.owners import Owners
from longfold_server.tenants.usage import Usage

SLOTS = 16_384


def free_port() -> int:
    """One whose bus port, 10,000 above, is free too."""
    for port in range(21_000, 29_000):
        try:
            for each in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
    raise AssertionError("no free port")


class Node:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "yes"}
        options |= {"cluster-enabled": "yes", "cluster-node-timeout": 2000}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [str(find_server()), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = sync_redis.Redis(port=self.port, decode_responses=True)
        wait(lambda: self.client.ping())

    def close(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


def wait(check: object) -> None:
    for _ in range(1500):
        try:
            if check():  # type: ignore[operator]
                return
        except sync_redis.exceptions.ConnectionError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come true")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    folder = tmp_path_factory.mktemp("cluster")
    found: list[Node] = []
    try:
        for number in range(3):
            found.append(Node(folder / str(number)))
        for number, node in enumerate(found):
            node.client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS * number // 3, SLOTS * (number + 1) // 3))
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in found[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", found[0].port)
        for node in found:
            wait(lambda node=node: node.client.cluster("INFO")["cluster_state"] == "ok")
            wait(lambda node=node: node.client.cluster("INFO")["cluster_known_nodes"] == "3")
        yield found
    finally:
        for node in found:
            node.close()


@pytest.fixture
def url(nodes: list[Node]) -> str:
    for node in nodes:
        node.client.flushall()
    return f"redis://127.0.0.1:{nodes[0].port}"


def jobs_on_all_nodes(store: JobStore, count: int) -> list[str]:
    """Ids of jobs such that every node holds some of them."""
    while True:
        jobs = [new_job_id() for _ in range(count)]
        if len({key_slot(job.encode()) * 3 // SLOTS for job in jobs}) == 3:
            return jobs


async def test_every_transition_on_a_cluster(url, nodes, asked, lapse):
    client = connect(url, cluster=True)
    store = JobStore(client)
    told = dataclasses.replace(asked, webhook="https://example.org/hook")
    jobs = jobs_on_all_nodes(store, 12)
    for number, job in enumerate(jobs):
        assert await store.create(job, "body", told, tenant=f"t{number % 3}", tenant_jobs=4)
        assert not await store.create(job, "body", told, tenant=f"t{number % 3}", tenant_jobs=4)
    assert all(node.client.keys(store.keys.job("*")) for node in nodes), "the jobs are on all nodes"
    leases = []
    while isinstance(claim := await store.claim("w"), Claim):
        leases.append(Lease(claim))
        await store.commit(leases[-1], "step", {"n": 1}, {"state": "S"})
    assert {lease.job for lease in leases} == set(jobs)
    await store.finish(leases[0], JobStatus.COMPLETED)
    assert await store.release(leases[1]) == "released"
    assert await store.cancel(leases[1].job) is JobStatus.CANCELLED
    await store.beat(leases[3])
    for lease in leases[2:]:
        await lapse(client, store.keys, lease.job)
    again = [await store.claim("w") for _ in range(10)]
    assert all(claim.takeover and claim.state == "S" for claim in again)
    for claim in again:
        await store.finish(Lease(claim), JobStatus.COMPLETED)
    assert isinstance(await store.claim("w"), Idle)
    assert (await store.stats()).webhooks == len(jobs)
    for _ in jobs:
        job, attempt = await store.due_webhook(30)
        assert attempt == 0
        await store.webhook_sent(job)
    stats = await store.stats()
    assert (stats.ready, stats.leased, stats.webhooks) == (0, 0, 0)
    assert [event.kind for event in await store.events(jobs[5], 0, 10)] == ["created", "step", "completed"]
    await client.aclose()


async def test_the_bell_hears_every_node(url, asked):
    client = connect(url, cluster=True)
    store = JobStore(client)
    bell = Bell(client, store.keys.signals)
    running = asyncio.create_task(bell.run())
    async with asyncio.timeout(10):
        while not bell.heard:
            await asyncio.sleep(0.01)
    for _ in range(4):
        job = new_job_id()
        async with bell.watch(store.keys.events(job)) as changed, asyncio.timeout(5):
            await asyncio.sleep(0.05)
            changed.clear()
            await store.create(job, "body", asked)
            await changed.wait()
    await end(running)
    await client.aclose()


async def test_a_service_on_a_cluster_answers(url, start, text_with):
    async with start(on=url, redis_cluster=True) as service:
        found = await service.finished((await service.ask(text_with(6, {3: "FACT one is red."}), mode="fold"))["id"])
        assert found["status"] == "completed" and found["result"]["answer"] == "FACT one is red."
        assert [name for name, _ in await service.events(found["id"])][-1] == "completed"


async def test_keys_and_counters_work_on_a_cluster(url):
    client = connect(url, cluster=True)
    keys, usage, owners = KeyStore(client), Usage(client), Owners(client, retention_seconds=9)
    text, key = await keys.create("one")
    assert await keys.find(key.id) == key and await keys.all() == [key] and text
    assert (await keys.revoke(key.id)).revoked is not None
    for name in ("a", "b", "c", "d"):
        told = [(await usage.request(name, Rate(2, 60))).admitted for _ in range(3)]
        assert told == [True, True, False] and (await usage.spend(name, 7)).spent == 7
        await owners.add(
            name, DocumentInfo(document_id="doc_0", title="", media_type="", bytes=1, characters=1, sha256="0")
        )
        assert await owners.owns(name, "doc_0") and not await owners.owns(name, "doc_1")
    await client.aclose()


async def test_a_cluster_is_checked_node_by_node(url, nodes):
    await check_redis(url, cluster=True, accept_loss=False)
    nodes[2].client.config_set("maxmemory-policy", "volatile-lru")
    try:
        with pytest.raises(ConfigError, match="volatile-lru"):
            await check_redis(url, cluster=True, accept_loss=True)
    finally:
        nodes[2].client.config_set("maxmemory-policy", "noeviction")


async def test_a_cluster_that_is_away_is_store_unavailable():
    client = connect("redis://127.0.0.1:1", cluster=True)
    with pytest.raises(StoreUnavailable):
        await JobStore(client).ping()
    await client.aclose()
    with pytest.raises(ConfigError, match="Cluster"):
        connect("unix:///tmp/redis.sock", cluster=True)
