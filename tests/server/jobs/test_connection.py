"""Which Redis is taken: one that keeps jobs; and what a client's errors become."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys

import pytest
from redis.exceptions import ResponseError

from longfold_server.errors import ConfigError, StoreUnavailable
from longfold_server.jobs.connection import RedisFacts, boundary, check_redis, connect, vet

KEEPS = RedisFacts("7.2.0", "noeviction", append_only=True)
FORGETS = RedisFacts("7.2.0", "noeviction", append_only=False)
SILENT = RedisFacts("?", None, None)


def test_a_redis_that_keeps_jobs_is_taken():
    vet(KEEPS, accept_loss=False)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_one_that_drops_keys_is_never_taken(policy):
    for accept in (False, True):
        with pytest.raises(ConfigError, match=policy):
            vet(RedisFacts("7.2.0", policy, append_only=True), accept_loss=accept)


@pytest.mark.parametrize("facts", [FORGETS, SILENT])
def test_one_that_forgets_or_does_not_tell_is_taken_only_on_request(facts):
    with pytest.raises(ConfigError, match="LONGFOLD_REDIS_ACCEPT_LOSS"):
        vet(facts, accept_loss=False)
    vet(facts, accept_loss=True)


async def test_a_real_redis_is_asked(own_redis):
    client = connect(own_redis.url)
    await check_redis(own_redis.url, cluster=False, accept_loss=False)
    await client.config_set("appendonly", "no")
    with pytest.raises(ConfigError, match="appendonly"):
        await check_redis(own_redis.url, cluster=False, accept_loss=False)
    await check_redis(own_redis.url, cluster=False, accept_loss=True)
    await client.config_set("maxmemory-policy", "volatile-lru")
    with pytest.raises(ConfigError, match="volatile-lru"):
        await check_redis(own_redis.url, cluster=False, accept_loss=True)
    await client.execute_command("ACL", "SETUSER", "default", "-info")
    with pytest.raises(ConfigError, match="INFO"):
        await check_redis(own_redis.url, cluster=False, accept_loss=False)
    await client.aclose()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_a_redis_that_loads_its_data_is_away(tmp_path, kind):
    asked = 0

    async def loading(reader, writer):
        nonlocal asked
        with contextlib.suppress(ConnectionError):
            while command := await reader.readline():
                if not command.startswith(b"*"):
                    continue
                words = [(await reader.readline(), await reader.readline())[1] for _ in range(int(command[1:]))]
                asked += 1
                greeting = words[0].strip() == b"HELLO"  # is answered all the same
                writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" if greeting else b"-LOADING Redis is loading\r\n")
                await writer.drain()
        writer.close()

    path = tmp_path / "r.sock"
    server = await (
        asyncio.start_unix_server(loading, path) if kind == "unix" else asyncio.start_server(loading, "::1")
    )
    port = 0 if kind == "unix" else server.sockets[0].getsockname()[1]
    client = connect(f"unix://{path}" if kind == "unix" else f"redis://[::1]:{port}")
    with pytest.raises(StoreUnavailable), boundary():
        await asyncio.wait_for(client.hget("job", "status"), 5)
    assert asked < 30
    await client.aclose()
    server.close()


async def test_a_redis_that_refuses_the_password_is_not_waited_for(own_redis):
    own_redis.configure("requirepass", "hunter2")
    for url in (own_redis.url, own_redis.url.replace("unix://", "unix://:guessed@")):
        with pytest.raises(ConfigError, match="password") as failure:
            await asyncio.wait_for(check_redis(url, cluster=False, accept_loss=True), 5)
        assert "guessed" not in str(failure.value)
    await check_redis(own_redis.url.replace("unix://", "unix://:hunter2@"), cluster=False, accept_loss=True)


async def test_a_redis_that_is_away_at_the_start_is_waited_for_but_not_for_ever(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        await check_redis(f"unix://{tmp_path}/no.sock", cluster=False, accept_loss=False, seconds=0.3)
    assert [record.message for record in caplog.records] == ["redis_unchecked"]


def test_a_service_on_an_unsafe_redis_does_not_start(own_redis, tmp_path):
    own_redis.configure("maxmemory-policy", "allkeys-lru")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGFOLD_")}
    environment |= {"LONGFOLD_REDIS_URL": own_redis.url, "LONGFOLD_DATA_DIR": str(tmp_path), "LONGFOLD_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "longfold_server.cli", "api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "allkeys-lru" in ended.stderr and "noeviction" in ended.stderr and "Traceback" not in ended.stderr


def test_a_url_that_cannot_be_used_is_told_without_its_password():
    with pytest.raises(ConfigError) as failure:
        connect("http://user:secret@127.0.0.1")
    assert "secret" not in str(failure.value)


def test_errors_of_a_redis_that_cannot_work_now_are_told_from_bugs():
    for reply in ("OOM command not allowed", "LOADING Redis is loading", "CLUSTERDOWN Hash slot not served"):
        with pytest.raises(StoreUnavailable), boundary():
            raise ResponseError(reply)
    with pytest.raises(ResponseError), boundary():
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
