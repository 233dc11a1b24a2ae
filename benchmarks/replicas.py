"""Replicas of the service as real processes over one Redis and one stub engine: started, killed, paused, ended and
started again. Knows no jobs and checks nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from service import TOKENIZER, free_port

from longfold_server.stack import redis
from longfold_server.stack.reaper import PR_SET_PDEATHSIG, prctl

HERE = Path(__file__).parent
START_SECONDS = 300.0
"""Generous: several processes start at once, and the cores may be busy."""
BEFORE_AGAIN_SECONDS = 0.5
"""A process that ended while it started (its Redis was away) is started again, as an orchestrator does."""

RUNNING = re.compile(r"^longfold_worker_jobs (\S+)$", re.MULTILINE)


class Process:
    """One program that can be disturbed. `up` tells whether it serves."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: dict[str, str], up: Callable[[], Awaitable[bool]], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._argv = tuple(argv)
        self._environment = environment
        self._up = up
        self._child: subprocess.Popen[bytes] | None = None
        self._served = False

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def ended(self) -> int | None:
        """Its exit status, None while it runs; -N when signal N ended it."""
        return None if self._child is None else self._child.poll()

    def spawn(self) -> None:
        """Starts it and returns at once."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv,
                env=self._environment,
                stdout=log,
                stderr=log,
                # Nothing of a run that was killed itself stays behind.
                preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )

    async def start(self) -> None:
        """`spawn` and `serving`."""
        self.spawn()
        await self.serving()

    async def serving(self) -> None:
        """Waits until it serves; one that served before and ends meanwhile is started again.

        Raises `TimeoutError` with the end of its log.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._up():
                    if self.ended is not None:
                        if not self._served:
                            raise TimeoutError
                        await asyncio.sleep(BEFORE_AGAIN_SECONDS)
                        self.spawn()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}") from None
        self._served = True

    def kill(self) -> None:
        """SIGKILL, also of one that is paused."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM; returns at once."""
        os.kill(self.pid, signal.SIGTERM)

    async def wait_ended(self, seconds: float) -> int | None:
        """Its exit status once it has ended; None when it still runs after `seconds`."""
        for _ in range(int(seconds / 0.02)):
            if self.ended is not None:
                break
            await asyncio.sleep(0.02)
        return self.ended


@dataclass
class Replicas:
    """A running service of several processes."""

    redis: Process
    engine: Process
    engine_url: str
    apis: list[Process] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    """Of the APIs, in their order."""
    workers: list[Process] = field(default_factory=list)
    worker_urls: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Process]:
        return [self.redis, self.engine, *self.apis, *self.workers]

    async def busy(self) -> Process:
        """A worker that has a job. Raises `LookupError` when none has."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for worker, url in zip(self.workers, self.worker_urls, strict=True):
                found = RUNNING.search((await client.get(f"{url}/metrics")).text)
                if found is not None and float(found[1]) > 0:
                    return worker
        raise LookupError("no worker is busy")

    async def trouble(self, kind: str, calls: int, seconds: float) -> None:
        """Makes the engine's next calls fail (see `stub_engine.py`). An engine that is away has trouble enough."""
        body = {"kind": kind, "calls": calls, "seconds": seconds}
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                await client.post(f"{self.engine_url}/stub/trouble", json=body)
        except httpx.TransportError:
            return


class RoundRobin(httpx.AsyncBaseTransport):
    """Sends each request to the next URL, whatever the last one did: a load balancer without memory or health."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = itertools.cycle([httpx.URL(url) for url in urls])
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = next(self._urls)
        request.url = request.url.copy_with(host=target.host, port=target.port)
        request.headers["host"] = target.netloc.decode()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def replicas(
    folder: Path,
    *,
    apis: int = 2,
    workers: int = 2,
    latency: float = 0.02,
    policy: str = "chain",
    redis_flags: Sequence[str] = (),
    **settings: object,
) -> AsyncIterator[Replicas]:
    """Started processes with their data and logs in `folder`; all are killed at the end.

    `settings` become LONGFOLD_ variables, e.g. `lease_seconds=2`.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGFOLD_")}
    with tempfile.TemporaryDirectory(prefix="lf") as short:  # a unix socket's path must be short
        sock = Path(short) / "r.sock"
        engine_port = free_port()
        engine_url = f"http://127.0.0.1:{engine_port}"
        url = f"unix://{sock}"
        given = {
            "redis_url": url,
            "data_dir": folder / "data",
            "engine_urls": engine_url,
            "tokenizer": TOKENIZER,
            "profile": "general",
        }
        service = environment | {f"LONGFOLD_{name.upper()}": str(value) for name, value in (given | settings).items()}

        def replica(role: str, number: int) -> tuple[Process, str]:
            port = free_port()
            argv = [sys.executable, "-m", "longfold_server.cli", role, "--port", str(port)]
            at = f"http://127.0.0.1:{port}"
            name = f"{role}-{number}"
            return Process(name, argv, service, lambda: answers(f"{at}/livez"), folder / f"{name}.log"), at

        data = folder / "redis"
        data.mkdir(parents=True)
        store = redis.command(redis.find_server(), data, sock)
        stub = [sys.executable, str(HERE / "stub_engine.py"), "--port", str(engine_port), "--latency", str(latency)]
        running = Replicas(
            Process("redis", (*store.argv, *redis_flags), environment, lambda: redis.alive(url), folder / "redis.log"),
            Process(
                "engine",
                (*stub, "--policy", policy),
                environment,
                lambda: answers(f"{engine_url}/health"),
                folder / "engine.log",
            ),
            engine_url,
        )
        for number in range(apis):
            process, at = replica("api", number)
            running.apis.append(process)
            running.urls.append(at)
        for number in range(workers):
            process, at = replica("worker", number)
            running.workers.append(process)
            running.worker_urls.append(at)
        try:
            await running.redis.start()
            async with asyncio.TaskGroup() as starting:
                for process in running.all[1:]:
                    starting.create_task(process.start())
            yield running
        finally:
            for process in running.all:
                process.kill()


async def answers(url: str) -> bool:
    """Whether a GET is answered 200."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False
