"""The whole stack in one command: Redis, vLLM and the service, each awaited, watched, restarted, and ended together.
Knows no request.

The service runs as a child like the others, not inside this process: a crash or a blocked loop there cannot take the
supervision down, it is restarted like Redis and vLLM, and it drains on SIGTERM by the same code as in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from longfold_server.ending import end
from longfold_server.settings import Settings, in_words
from longfold_server.stack import models, redis, vllm
from longfold_server.stack.errors import AlreadyRunning, BadConfiguration, StackError
from longfold_server.stack.lock import StackLock
from longfold_server.stack.processes import Child, Command, Patience, Report, State, Status

SERVER_PATIENCE = Patience(start=120.0, grace=15.0, check_every=2.0, unhealthy=30.0)


def default_data_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_DATA_HOME/longfold`, by default `~/.local/share/longfold`."""
    base = environment.get("XDG_DATA_HOME", "")
    # The XDG specification says to ignore relative paths.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "longfold"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What `up` was asked for."""

    data_dir: Path
    model: str | None = None
    """Folder or hub name; None: the demo policy, or whatever the given engine serves."""
    engine_urls: tuple[str, ...] = ()
    """Running vLLMs to use instead of starting one."""
    profile: str | None = None
    tokenizer: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free port."""
    max_model_len: int | None = None
    kv_cache_gib: int = 1
    redis_url: str | None = None
    allow_networks: tuple[str, ...] = ()
    """Private networks (CIDR) from which documents may be fetched."""
    allow_ports: tuple[int, ...] = ()
    """Ports besides 80 and 443 from which documents may be fetched."""
    vllm_flags: tuple[str, ...] = ()


class Stack:
    """`start()`, then `watch()`, then `stop()`. Must be used from one event loop."""

    def __init__(
        self, options: StackOptions, report: Report | None = None, note: Callable[[str], None] | None = None
    ) -> None:
        """`report` gets every change of a component, `note` warnings in words. Raises `BadConfiguration`,
        `NotInstalled`."""
        self.options = options
        self.url = ""
        """Of the service, once started."""
        self.children: dict[str, Child] = {}
        self._report = report or (lambda status: None)
        self._note = note or (lambda text: None)
        self._watchers: list[asyncio.Task[None]] = []
        self._lock: StackLock | None = None
        self._claim: socket.socket | None = None
        self._began = time.time()
        # Fails early and in words, before anything is started.
        if options.engine_urls and (options.max_model_len is not None or options.vllm_flags):
            raise BadConfiguration(
                "--max-model-len and --vllm-flag are for a vLLM that is started here: with --engine-url, "
                "start that engine with them"
            )
        self._vllm = None if options.engine_urls else vllm.find()
        self._model = (
            None
            if options.engine_urls and options.model is None
            else models.resolve(options.model, options.profile, options.tokenizer)
        )
        try:
            # The service starts last, after minutes with a big model.
            Settings(**self._service_settings(), engine_urls=[], profile="general")
        except ValidationError as error:
            raise BadConfiguration(in_words(error)) from None

    async def start(self) -> None:
        """Start everything in order; returns when a question can be asked. Raises a `StackError`; call `stop()` in
        any case."""
        lock = StackLock(self.options.data_dir)
        try:
            await lock.acquire()
        except BaseException:
            os.close(lock.fd)
            raise
        self._lock = lock
        port = self._claim_port()
        host = self.options.host
        # A wildcard address is listened on, not connected to.
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.url = f"http://{reachable}:{port}"
        self._write_record()

        redis_url = await self._start_redis()
        engine_urls, model, api_key = await self._start_engine()
        await self._start_server(port, redis_url, engine_urls, model, api_key)

    async def watch(self) -> None:
        """Runs until a component is given up; raises its `ChildFailed`. Cancel it to end watching."""
        done, _ = await asyncio.wait(self._watchers, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    async def stop(self) -> None:
        """End the service first, so that it gives its jobs back, then vLLM and Redis. Safe to call at any time."""
        await end(*self._watchers)
        self._watchers.clear()
        server = self.children.get("server")
        if server is not None:
            await server.stop()
        await asyncio.gather(*(child.stop() for child in self.children.values()))
        if self._claim is not None:
            self._claim.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def hurry(self) -> None:
        """A second Ctrl-C: kill what has not ended yet."""
        for child in self.children.values():
            child.hurry()

    def _claim_port(self) -> int:
        """The port, kept until the stack stops: the service comes a minute later or more, and no connection that
        somebody opens meanwhile may begin there."""
        options = self.options
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        claim = self._claim = socket.socket(family)
        # As uvicorn does; without it a port in TIME_WAIT would be refused, and so would the service here.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            claim.bind((options.host, options.port))
        except OSError as error:
            raise AlreadyRunning(
                f"cannot listen on {options.host} port {options.port}: {error.strerror or error}; "
                "choose another --port (0 takes a free one)"
            ) from None
        except OverflowError:
            raise BadConfiguration(f"{options.port} is not a port") from None
        port: int = claim.getsockname()[1]
        if sys.platform != "linux":
            claim.close()  # elsewhere the service could not have it
        return port

    async def _start_redis(self) -> str:
        given = self.options.redis_url
        if given is not None:
            began = time.monotonic()
            found = await redis.facts(given)
            self._report(Status("redis", State.READY, time.monotonic() - began, f"running at {redis.shown(given)}"))
            url = given
        else:
            child, url = redis.child(self.options.data_dir, report=self._observe, keep_open=self._keep_open())
            await self._start_child(child)
            found = await redis.facts(url)
        for warning in redis.check(found):
            self._note(warning)
        return url

    async def _start_engine(self) -> tuple[tuple[str, ...], models.Model, str | None]:
        options = self.options
        if options.engine_urls:
            began = time.monotonic()
            urls = tuple(url.rstrip("/").removesuffix("/v1") for url in options.engine_urls)
            api_key = os.environ.get("LONGFOLD_ENGINE_API_KEY")
            found = [await models.served(url, api_key) for url in urls]
            name, root = found[0]
            if any(other != name for other, _ in found):
                raise BadConfiguration(
                    f"the engines serve different models: {', '.join(sorted({other for other, _ in found}))}"
                )
            model = models.resolve(options.model or root, options.profile, options.tokenizer, name=name)
            self._report(Status("vllm", State.READY, time.monotonic() - began, f"running, serves {name}"))
            return urls, model, api_key
        assert self._vllm is not None and self._model is not None
        # Every user of this machine can reach the loopback interface; the key keeps the engine to this stack.
        api_key = secrets.token_urlsafe(32)
        child, url = vllm.child(
            self._vllm,
            vllm.Options(
                model=self._model.source,
                name=self._model.name,
                port=vllm.free_port(),
                max_model_len=options.max_model_len,
                kv_cache_gib=options.kv_cache_gib,
                api_key=api_key,
                extra=options.vllm_flags,
            ),
            options.data_dir / "logs" / "vllm.log",
            report=self._observe,
            keep_open=self._keep_open(),
        )
        await self._start_child(child)
        return (url,), self._model, api_key

    def _service_settings(self) -> dict[str, Any]:
        """Those of the service that are known before anything is started; they win over the environment's."""
        options = self.options
        given: dict[str, Any] = {
            "host": options.host,
            "port": options.port,
            "roles": ["api", "worker"],
            "redis_accept_loss": True,  # whoever started the stack was warned
            "data_dir": str(options.data_dir.resolve()),
        }
        if options.allow_networks:
            given["fetch_allow_networks"] = list(options.allow_networks)
        if options.allow_ports:
            given["fetch_ports"] = sorted({80, 443, *options.allow_ports})
        return given

    async def _start_server(
        self, port: int, redis_url: str, engine_urls: tuple[str, ...], model: models.Model, api_key: str | None
    ) -> None:
        given = self._service_settings() | {
            "port": port,
            "redis_url": redis_url,
            "engine_urls": list(engine_urls),
            "engine_model": model.name,
            "profile": model.profile,
            "tokenizer": str(model.tokenizer),
        }
        # A stack of one's own mostly reads for one question: its engine would wait more than wrong guesses cost, least
        # of all over the demo policy's short chunks.
        if "LONGFOLD_SPECULATION" not in os.environ:
            given["speculation"] = 15 if model.profile == "demo" else 3
        if api_key is not None:
            given["engine_api_key"] = api_key
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        for name, value in given.items():
            environment[f"LONGFOLD_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        child = Child(
            "server",
            Command((sys.executable, "-m", "longfold_server.cli", "serve"), environment),
            self._answers("/livez"),
            self.options.data_dir / "logs" / "server.log",
            ready=self._answers("/readyz"),
            patience=SERVER_PATIENCE,
            report=self._observe,
            keep_open=self._keep_open(),
        )
        await self._start_child(child)

    async def _start_child(self, child: Child) -> None:
        child.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.children[child.name] = child
        await child.start()
        self._watchers.append(asyncio.create_task(child.supervise(), name=f"watch {child.name}"))

    def _answers(self, path: str) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=15.0) as client:
                    return (await client.get(f"{self.url}{path}")).status_code == 200
            except httpx.HTTPError:
                return False

        return check

    def _observe(self, status: Status) -> None:
        self._report(status)
        if status.state in (State.READY, State.FAILED, State.STOPPED):
            self._write_record()

    def _keep_open(self) -> tuple[int, ...]:
        assert self._lock is not None
        return (self._lock.fd,)

    def _write_record(self) -> None:
        if self._lock is None:
            return
        self._lock.write(
            {
                "url": self.url,
                "pid": os.getpid(),
                "started_at": self._began,
                "components": {
                    name: {"pid": child.pid, "state": child.state, "restarts": child.restarts, "log": str(child.log)}
                    for name, child in self.children.items()
                },
            }
        )


async def up(stack: Stack, ready: Callable[[Stack], None] | None = None) -> int:
    """Run a stack until Ctrl-C, SIGTERM or SIGHUP; the exit status. Raises a `StackError` when it cannot start or a
    part is given up."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            stack.hurry()
        asked.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    stopping = asyncio.create_task(asked.wait())
    try:
        if not await _unless(stopping, stack.start()):
            return 130
        if ready is not None:
            ready(stack)
        await _unless(stopping, stack.watch())
        return 0
    finally:
        stopping.cancel()
        await stack.stop()
        for number in numbers:
            loop.remove_signal_handler(number)


async def _unless(stopping: asyncio.Task[bool], work: Awaitable[None]) -> bool:
    """Await `work` unless asked to stop before; whether it was completed. Its exceptions propagate."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StackError):
                await task
