"""Probes and metrics: /livez (this process runs), /readyz (it can work), /metrics. Without authentication; they tell no
ids."""

from __future__ import annotations

import asyncio
import math

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from longfold_agent.errors import AgentError
from longfold_agent.protocols import Reachable
from longfold_client.types import JobStatus
from longfold_server import resources
from longfold_server.errors import StoreUnavailable

CHECK_SECONDS = 2.0
"""A probe that waits longer than its prober would look like a dead process."""

LOOPS = frozenset({"bell", "expiry", "worker", "webhooks"})
"""Tasks of this process that should never end before it does."""

router = APIRouter(tags=["health"])


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Whether the process runs")
async def livez() -> dict[str, str]:
    """Asks nothing else: a store or an engine that is away is no reason to restart this process."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Whether the process can take work",
    responses={503: {"description": "Not ready; `checks` says why"}},
)
async def readyz(request: Request) -> JSONResponse:
    """Redis answers, the engine does (of a worker), no loop has ended, and the process is not draining."""
    held = resources.of(request)
    checks = {"draining": "yes" if held.drain.begun else "no"}
    checks["store"] = await _store(held)
    if held.engine is not None:
        checks["engine"] = await _engine(held)
    checks |= {task.get_name(): "ended" if task.done() else "ok" for task in held.tasks if task.get_name() in LOOPS}
    ready = not held.drain.begun and all(value == "ok" for name, value in checks.items() if name != "draining")
    return JSONResponse({"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503)


async def _store(held: resources.Resources) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await held.store.ping()
    except (StoreUnavailable, TimeoutError):
        return "unavailable"
    return "ok"


async def _engine(held: resources.Resources) -> str:
    if held.engine is None:
        return "none"
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await held.engine.window()  # the model is served; asking also finds replicas well again that no call needs
            if isinstance(held.engine, Reachable):
                await held.engine.reach()
    except (AgentError, TimeoutError, OSError) as error:
        return f"unavailable: {type(error).__name__}"
    return "ok"


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The text exposition; the queue's gauges are read now, and left out while the store is away."""
    held = resources.of(request)
    try:
        stats = await held.store.stats()
    except StoreUnavailable:
        held.metrics.jobs.clear()
        held.metrics.queue_age.set(math.nan)  # not the last value: nothing is known now
        held.metrics.webhooks_owed.set(math.nan)
    else:
        held.metrics.jobs.labels(status=JobStatus.QUEUED.value).set(stats.ready)
        held.metrics.jobs.labels(status=JobStatus.IN_PROGRESS.value).set(stats.leased)
        held.metrics.queue_age.set(stats.oldest_seconds)
        held.metrics.webhooks_owed.set(stats.webhooks)
    return Response(held.metrics.render(), media_type=CONTENT_TYPE_LATEST)
