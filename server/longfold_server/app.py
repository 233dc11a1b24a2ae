"""The application as a pure function of its settings. Resources live in the lifespan; nothing is global."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_client.types import AnswerRequest, FetchRequest, Problem
from longfold_server import __version__, problems
from longfold_server.auth import RateFields
from longfold_server.drain import Drain
from longfold_server.ending import end
from longfold_server.errors import ConfigError
from longfold_server.ingest import DocumentStore
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.connection import close, connect
from longfold_server.metrics import Metrics
from longfold_server.patience import Patience
from longfold_server.previews import Previews
from longfold_server.resources import (
    CHUNK_THREADS,
    Resources,
    make_access,
    make_dispatcher,
    make_documents,
    make_engine,
    make_expiry,
    make_profile,
    make_sender,
    make_store,
    make_tenancy,
    make_tokens,
    make_uploads,
    make_worker,
)
from longfold_server.routes import answer, documents, health, uploads
from longfold_server.settings import Settings
from longfold_server.telemetry import Spans, make_spans
from longfold_server.webhooks.sender import SECONDS as DELIVERY_SECONDS

log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    engine: Engine | None = None,
    redis: Any = None,
    tokens: Tokens | None = None,
    profile: Profile | None = None,
    document_store: DocumentStore | None = None,
    spans: Spans | None = None,
) -> FastAPI:
    """The service. What is given stays the caller's to close; the rest is made from the settings at startup.

    Raises `ConfigError` when spans are asked for and OpenTelemetry is missing; startup raises it when a worker's
    tokenizer or profile cannot be used. `app.state.drain` begins the drain.
    """
    metrics, drain = Metrics(), Drain()
    tracing = spans if spans is not None else make_spans(settings.tracing)

    async def made(stack: AsyncExitStack) -> Resources:
        """The resources, closed with `stack`."""
        client = redis
        if client is None:
            client = connect(settings.redis_url, cluster=settings.redis_cluster)
            stack.push_async_callback(close, client)
        files = document_store
        if files is None:
            files = make_documents(settings)
            stack.push_async_callback(files.aclose)
        store, tenancy = make_store(settings, client), make_tenancy(settings, client)
        counting = tokens
        if counting is None and ("worker" in settings.roles or settings.tokenizer is not None):
            counting = await asyncio.to_thread(make_tokens, settings)
        prompts = profile
        if prompts is None and counting is not None:
            prompts = make_profile(settings, counting)
        held = Resources(
            settings,
            metrics,
            drain,
            make_access(settings, client, tenancy),
            tenancy,
            client,
            store,
            Bell(client, store.keys.signals),
            files,
            make_uploads(settings),
            Previews(files, counting, None if prompts is None else prompts.budgets.chunk),
        )
        held.spans = tracing
        if spans is None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        if "worker" in settings.roles and counting is not None and prompts is not None:
            held.engine = engine
            if held.engine is None:
                held.engine = make_engine(settings, metrics)
                stack.push_async_callback(held.engine.aclose)
            threads = ThreadPoolExecutor(CHUNK_THREADS, "chunks")
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            held.worker = make_worker(held, held.engine, prompts, counting, threads)
            if settings.webhook_secrets:
                sender = make_sender(settings)
                stack.push_async_callback(sender.aclose)
                held.dispatcher = make_dispatcher(held, sender)
        return held

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            with _told():
                held = await made(stack)
            app.state.resources = held
            await stack.enter_async_context(_running(held))
            log.info("started", extra={"roles": settings.roles, "version": __version__})
            yield
        log.info("stopped")

    app = FastAPI(
        title="longfold",
        version=__version__,
        summary="Questions over documents far larger than any context window.",
        lifespan=lifespan,
    )
    app.state.drain = drain
    app.state.settings = settings
    problems.install(app)
    app.include_router(health.router)
    if "api" in settings.roles:
        app.include_router(answer.router)
        app.include_router(documents.router)
        app.include_router(uploads.options_router)
        app.include_router(uploads.router)
    app.add_middleware(RateFields)
    app.add_middleware(uploads.TusFields)
    app.add_middleware(Counted, metrics=metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@contextmanager
def _told() -> Iterator[None]:
    """Logs why a service cannot start: its server has a trace only, and logs show no texts of errors but ours."""
    try:
        yield
    except Exception as error:
        log.exception("cannot_start", extra={"why": str(error)} if isinstance(error, ConfigError) else {})
        raise


@asynccontextmanager
async def _running(held: Resources) -> AsyncIterator[None]:
    """The background tasks: the bell, the worker, and the drain's call to everything that waits."""
    expiry = make_expiry(held)
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "bell": held.bell.run,
        "drain": lambda: _call_on_drain(held),
        "expiry": lambda: expiry.run(held.drain),
    }
    if held.worker is not None:
        loops["worker"] = held.worker.run
    if held.dispatcher is not None:
        loops["webhooks"] = held.dispatcher.run
    held.tasks = [asyncio.create_task(_lasting(name, run), name=name) for name, run in loops.items()]
    try:
        yield
    finally:
        held.drain.begin()
        tasks = {task.get_name(): task for task in held.tasks}
        if "webhooks" in tasks:
            await asyncio.wait({tasks["webhooks"]}, timeout=DELIVERY_SECONDS)
        if "worker" in tasks:
            await asyncio.wait({tasks["worker"]})
        await end(*held.tasks)


async def _call_on_drain(held: Resources) -> None:
    await held.drain.wait()
    held.bell.ring_all()


async def _lasting(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a loop until it ends; one that breaks is begun again after a pause, since nobody else would."""
    async with Patience(math.inf) as patience:
        while True:
            try:
                return await run()
            except Exception as error:
                log.exception("task_broke", extra={"task": name})
                await patience.rest(type(error).__name__)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The routes' own schema, with the body and the problem that they read and write by hand."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in (AnswerRequest, FetchRequest, Problem):
            own = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= own.pop("$defs", {})
            components[model.__name__] = own
        # FastAPI's own validation error is never sent: every 422 is a problem.
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for path in schema.get("paths", {}).values():
            for operation in path.values():
                found = operation.get("responses", {}).get("422", {}).get("content", {})
                found.pop("application/json", None)
        app.openapi_schema = schema
    return app.openapi_schema


class Counted:
    """Counts and logs requests by route template, method and status; never by path or query."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.monotonic(), 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(method=method, route=route, status=str(status)).inc()
            if route not in QUIET:
                seconds = round(time.monotonic() - began, 4)
                told = {"method": method, "route": route, "status": status, "seconds": seconds}
                log.info("request", extra=told | {"key": scope.get("state", {}).get("key_id", "")})


METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds by machines."""
