"""Runs the application under uvicorn, and lets it drain: on SIGTERM streams say goodbye and jobs go back before
connections close."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from longfold_server import logs
from longfold_server.app import create_app
from longfold_server.drain import Drain
from longfold_server.jobs.connection import check_redis
from longfold_server.resources import make_profile, make_tokens
from longfold_server.settings import Settings

GRACE_SECONDS = 20
"""How long open requests may take to end once the drain has begun."""
KEEP_ALIVE_SECONDS = 75
"""Longer than clients and load balancers keep an idle connection (httpx 5 s, nginx 60 s). Whoever closes first must be
the one that sends: a request that meets a connection just being closed is lost, and its sender cannot know whether it
was done."""


class DrainingServer(uvicorn.Server):
    """Plain uvicorn cuts open event streams on SIGTERM; this one begins the drain first, so that they end by
    themselves, and goes on taking connections for `listen_seconds`, so that load balancers see /readyz turn 503 before
    the port closes. A second signal closes it at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain, listen_seconds: float = 0.0) -> None:
        super().__init__(config)
        self._drain = drain
        self._listen_seconds = listen_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False

    async def serve(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)  # type: ignore[arg-type]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs in a signal handler, so the drain begins through the loop."""
        if self._loop is None or self._leaving:
            return super().handle_exit(sig, frame)
        self._leaving = True
        self._loop.call_soon_threadsafe(self._leave, sig)

    def _leave(self, sig: int) -> None:
        self._drain.begin()
        asyncio.get_running_loop().call_later(self._listen_seconds, super().handle_exit, sig, None)


def make_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """A server for the application, not yet running."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS + round(settings.drain_seconds),
    )
    # Nobody routes requests to a worker: it leaves as soon as its jobs are given back.
    listen_seconds = settings.drain_listen_seconds if "api" in settings.roles else 0.0
    return DrainingServer(config, app.state.drain, listen_seconds)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit status. Raises `ConfigError`."""
    logs.configure(settings.log_level)
    # Made before the server starts, so that a wrong setting is one sentence and not the trace of a failed startup.
    counts = "worker" in settings.roles or settings.tokenizer is not None  # an API counts for previews
    tokens = make_tokens(settings) if counts else None
    profile = make_profile(settings, tokens) if tokens is not None else None
    accept_loss = settings.redis_accept_loss
    try:
        asyncio.run(check_redis(settings.redis_url, cluster=settings.redis_cluster, accept_loss=accept_loss))
        server = make_server(create_app(settings, tokens=tokens, profile=profile), settings)
        server.run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0 if server.started else 1
