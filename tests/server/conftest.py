"""A real Redis, a reader without a model, and whole services on a free port."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as sync_redis
from fastapi import FastAPI

from longfold_agent import load_profile
from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_agent.protocols import Profile, Request
from longfold_server.app import create_app
from longfold_server.jobs.connection import connect
from longfold_server.jobs.keys import Keys
from longfold_server.serve import make_server
from longfold_server.settings import Settings
from longfold_server.stack.redis import command, find_server
from longfold_server.telemetry import Spans


class RedisProcess:
    """A redis-server of the tests on a unix socket, with its data in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = Path(tempfile.mkdtemp(prefix="lf")) / "r.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = command(find_server(), self.folder, self.socket).argv
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = sync_redis.Redis.from_url(self.url)
        for _ in range(500):
            try:
                client.ping()
                break
            except sync_redis.exceptions.ConnectionError:
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.socket.parent)

    def configure(self, name: str, value: str) -> None:
        client = sync_redis.Redis.from_url(self.url)
        client.config_set(name, value)
        client.close()

    def flush(self) -> None:
        client = sync_redis.Redis.from_url(self.url)
        client.flushall()
        client.close()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The URL of moto's S3 server, a fake that speaks the protocol and checks no signatures."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
                break
        except OSError:
            assert server.poll() is None, "moto's server ended"
            time.sleep(0.1)
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def redis_url(shared_redis: RedisProcess) -> str:
    """The URL of an empty, real Redis."""
    shared_redis.flush()
    return shared_redis.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A real Redis that a test may kill and start again."""
    process = RedisProcess(tmp_path / "own-redis")
    process.start()
    yield process
    process.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def end_lease(redis: Any, keys: Keys, job: str) -> None:
    """Makes a job's lease run out now, in its hash and in the queue."""
    await redis.hset(keys.job(job), "lease_until", 0)
    place = await redis.hget(keys.job(job), "place")
    assert await redis.zadd(keys.queue("leases"), {place: 1}, xx=True, ch=True) == 1


@pytest.fixture
def lapse() -> Callable[..., Awaitable[None]]:
    return end_lease


class Words:
    """Tokens without a tokenizer: a word with the blanks before it is one token."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        words = list(re.finditer(r"\S+", text))
        return len(text) if len(words) <= budget else words[budget - 1].end()


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def profile() -> Profile:
    """The general profile with chunks of 40 words."""
    return load_profile("general", chunk_tokens=40, memory_tokens=200)


_TAGGED = re.compile(r"<(section|memory|problem)>\n(.*?)\n</\1>", re.DOTALL)


def is_read(request: Request) -> bool:
    return "You read a long text" in prompt_text(request.prompt)


def is_answer(request: Request) -> bool:
    return "was kept in the memory below" in prompt_text(request.prompt)


def good_reader(request: Request) -> str:
    """Keeps every line that holds FACT, and answers with the last line of the memory."""
    text = prompt_text(request.prompt)
    if "Split it in two parts" in text:
        [question] = [value for name, value in _TAGGED.findall(text) if name == "problem"]
        return f"<core>{question}</core><instructions></instructions>"
    found = _TAGGED.findall(text)
    memory = next((value for name, value in reversed(found) if name == "memory"), "")
    if is_read(request):
        [section] = [value for name, value in found if name == "section"]
        facts = re.findall(r"[^.\n]*FACT[^.\n]*\.", section)
        if not facts:
            return "KEEP"
        old = [] if memory.startswith("(nothing") else memory.splitlines()
        return (
            "<memory>\n"
            + "\n".join([*old, *(fact.strip() for fact in facts)])
            + "\n</memory>\n<plan>\nthe next FACT\n</plan>"
        )
    if is_answer(request):
        return memory.splitlines()[-1]
    facts = re.findall(r"[^.\n]*FACT[^.\n]*\.", text)
    return facts[-1].strip() if facts else "unknown"


@pytest.fixture
def reader() -> Callable[[Request], str]:
    return good_reader


def long_text(chunks: int, facts: dict[int, str]) -> str:
    """About `chunks` chunks of 40 words; chunk -> the fact in it."""
    parts = []
    for at in range(chunks):
        filler = " ".join(f"w{at}x{n}" for n in range(30 if at in facts else 39))
        parts.append(f"{facts[at]} {filler}." if at in facts else f"{filler}.")
    return "\n\n".join(parts)


@pytest.fixture
def text_with() -> Callable[[int, dict[int, str]], str]:
    return long_text


@dataclass
class Service:
    """A running service."""

    app: FastAPI
    client: httpx.AsyncClient
    engine: ScriptedEngine

    async def ask(self, text: str | list[str], **fields: Any) -> dict[str, Any]:
        """The job made for a question over inline texts."""
        texts = [text] if isinstance(text, str) else text
        body = {"question": "What is the last fact?", "documents": [{"text": one} for one in texts], **fields}
        reply = await self.client.post("/answer", json=body)
        assert reply.status_code == 202, reply.text
        return dict(reply.json())

    async def finished(self, job: str, seconds: float = 30.0) -> dict[str, Any]:
        """The job once it has ended."""
        for _ in range(int(seconds)):
            found = (await self.client.get(f"/answer/{job}", headers={"Prefer": "wait=1"})).json()
            if found["status"] in ("completed", "failed", "cancelled"):
                return dict(found)
        raise AssertionError(f"{job} did not end: {found}")

    async def events(self, job: str, after: int = 0) -> list[tuple[str, dict[str, str]]]:
        """(event name, fields) of the stream until it ends."""
        found = []
        async with self.client.stream("GET", f"/answer/{job}/events", params={"starting_after": after}) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in reply.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    found.append((fields["event"], fields))
                    fields = {}
        return found


Start = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path, profile: Profile, words: Words) -> Start:
    """Starts a service: `async with start(engine, lease_seconds=1) as service`. Several may run at once."""

    @asynccontextmanager
    async def starting(
        engine: ScriptedEngine | None = None,
        *,
        on: str | None = None,
        with_profile: Profile | None = None,
        spans: Spans | None = None,
        **fields: Any,
    ) -> AsyncIterator[Service]:
        engine = engine or ScriptedEngine(good_reader)
        options = {
            "redis_url": on or redis_url,
            "data_dir": tmp_path / "data",
            "port": 0,
            "lease_seconds": 2.0,
            "drain_seconds": 0.0,
        }
        settings = Settings(**(options | fields))
        app = create_app(settings, engine=engine, tokens=words, profile=with_profile or profile, spans=spans)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            server = make_server(app, settings)
            running = asyncio.create_task(server.serve([listening]))
            while not server.started and not running.done():
                await asyncio.sleep(0.01)
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with httpx.AsyncClient(base_url=base, timeout=70, trust_env=False) as client:
                    yield Service(app, client, engine)
            finally:
                app.state.drain.begin()
                server.should_exit = True
                await running

    return starting


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Waits until `check` holds."""
    for _ in range(int(seconds / 0.02)):
        if await check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true")


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    return eventually
