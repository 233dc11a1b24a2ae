"""/answer: ask, look, follow, page through the steps, cancel. Three ways to wait: not at all, `Prefer: wait=N`, an
event stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from longfold_client.types import AnswerRequest, Job, JobStatus, Steps
from longfold_server import resources
from longfold_server.bodies import answer_request
from longfold_server.codes import Code
from longfold_server.jobs.records import Source, StoredRequest, body_hash, new_job_id
from longfold_server.jobs.unfolding import page_of_steps
from longfold_server.problems import invalid, responses
from longfold_server.resources import Resources
from longfold_server.sse import HEADERS, stream, wait_for_end

LONGEST_WAIT = 60.0
"""Seconds; longer than most proxies keep a silent request open."""
LONGEST_KEY = 255
MOST_STEPS = 200
EVENT_STREAM = "text/event-stream"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)

router = APIRouter(tags=["answer"])

JobId = Annotated[str, Path(description="As returned by `POST /answer`.", max_length=100)]
Number = Annotated[int, Query(ge=0, le=2**53)]
STREAMED = {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}
EVENTS: dict[int | str, dict[str, Any]] = {200: STREAMED}
FINISHED: dict[int | str, dict[str, Any]] = {
    200: {"model": Job, "description": "The finished job, or its events", **STREAMED}
}
TOLD: dict[int | str, dict[str, Any]] = {202: {"model": Job, "description": "The worker has been told"}}
EXAMPLE = {
    "question": "When was the bridge finished? Answer with the year only.",
    "documents": [
        {"url": "https://example.org/chronicle.html"},
        {"text": "The bridge was finished in 1871.", "title": "A note"},
    ],
    "mode": "auto",
    "limits": {"seconds": 600},
}
BODY = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AnswerRequest"}, "example": EXAMPLE}},
    "required": True,
}
COMMON = (Code.UNAUTHORIZED, Code.STORE_UNAVAILABLE, Code.INVALID_REQUEST)


def wait_seconds(request: Request) -> float | None:
    """N of `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT`; None without it."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return None if found is None else min(LONGEST_WAIT, float(found[1]))


def wants_events(request: Request) -> bool:
    """Whether the event stream is what the caller accepts best."""
    return any(
        part.partition(";")[0].strip().lower() == EVENT_STREAM for part in request.headers.get("accept", "").split(",")
    )


@router.post(
    "/answer",
    status_code=202,
    response_model=Job,
    summary="Ask a question over documents",
    openapi_extra={"requestBody": BODY},
    responses=FINISHED
    | responses(
        *COMMON,
        Code.INVALID_JSON,
        Code.REQUEST_TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.IDEMPOTENCY_MISMATCH,
        Code.DOCUMENT_UNKNOWN_ID,
    ),
)
async def ask(request: Request) -> Response:
    """Makes a job. `Idempotency-Key`: the same key and body give the same job again. `Prefer: wait=N`: answers with the
    finished job if it ends in time. `Accept: text/event-stream`: answers with its events."""
    held = resources.of(request)
    scope = held.keys.scope(request)
    key = _idempotency_key(request)
    asked = await answer_request(request, held.settings.json_max_bytes, held.settings.inline_max_bytes)
    job = new_job_id(key, scope)
    body = body_hash(asked)
    if await held.store.create(job, body, await _stored(held, asked)):
        held.metrics.created.inc()
    return await _respond(request, held, job, after=0)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= LONGEST_KEY:
        raise invalid(
            f"an Idempotency-Key has 1 to {LONGEST_KEY} characters",
            ["header", "idempotency-key"],
            "wrong length",
            "string_length",
        )
    return key


async def _stored(held: Resources, asked: AnswerRequest) -> StoredRequest:
    """The request without its texts: they go to the document store at once. Raises `DocumentError` for texts and ids
    that cannot be read."""
    sources = []
    for index, document in enumerate(asked.documents):
        title = document.title or None
        if document.text is not None:
            stored = await held.documents.ingest_text(document.text, title, index)
            sources.append(Source(document_id=stored.document_id, title=title))
            held.metrics.documents.labels(source="text").inc()
        elif document.document_id is not None:
            await held.documents.get(document.document_id, title, index)
            sources.append(Source(document_id=document.document_id, title=title))
        else:
            sources.append(Source(url=document.url, title=title))
    return StoredRequest(asked.question, tuple(sources), asked.mode, asked.limits)


async def _respond(request: Request, held: Resources, job: str, after: int) -> Response:
    """The job now, when it has ended, or as it goes on."""
    if wants_events(request):
        return _events(held, job, after)
    wait = wait_seconds(request)
    if wait is None:
        found = await held.store.get(job)
    else:
        found = await wait_for_end(held.store, held.bell, held.drain, job, wait)
    headers = {"Location": f"/answer/{job}"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait:.0f}"
    if not found.finished:
        headers["Retry-After"] = "1"
    waiting = request.method == "POST" and not found.finished
    return _json(found, 202 if waiting else 200, headers)


def _json(found: Job | Steps, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(found.model_dump_json(), status_code=status, media_type="application/json", headers=headers)


def _events(held: Resources, job: str, after: int) -> Response:
    async def counted() -> AsyncIterator[bytes]:
        with held.metrics.streams.track_inprogress():
            async with aclosing(stream(held.store, held.bell, held.drain, job, after)) as pieces:
                async for piece in pieces:
                    yield piece

    return StreamingResponse(counted(), media_type=EVENT_STREAM, headers=HEADERS | {"Location": f"/answer/{job}"})


@router.get(
    "/answer/{job}", response_model=Job, summary="The job", responses=EVENTS | responses(*COMMON, Code.JOB_NOT_FOUND)
)
async def look(request: Request, job: JobId) -> Response:
    """The job now; with `Prefer: wait=N` when it has ended or N seconds later; with `Accept: text/event-stream` its
    events."""
    held = resources.of(request)
    held.keys.scope(request)
    await held.store.status(job)
    return await _respond(request, held, job, after=_last_event_id(request) or 0)


@router.get(
    "/answer/{job}/events",
    response_class=StreamingResponse,
    summary="Follow the job",
    responses=EVENTS | responses(*COMMON, Code.JOB_NOT_FOUND, Code.NOT_ACCEPTABLE),
)
async def events(request: Request, job: JobId, starting_after: Number = 0) -> Response:
    """Server-sent events behind number `starting_after` or the `Last-Event-ID` header, until a final one."""
    held = resources.of(request)
    held.keys.scope(request)
    last = _last_event_id(request)
    await held.store.status(job)
    return _events(held, job, starting_after if last is None else last)


def _last_event_id(request: Request) -> int | None:
    value = request.headers.get("last-event-id", "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 16):
        raise invalid(
            "Last-Event-ID is the number of an event", ["header", "last-event-id"], "not a number", "int_parsing"
        )
    return int(value)


@router.get(
    "/answer/{job}/steps",
    response_model=Steps,
    summary="What was read",
    responses=responses(*COMMON, Code.JOB_NOT_FOUND),
)
async def steps(
    request: Request, job: JobId, after: Number = 0, limit: Annotated[int, Query(ge=1, le=MOST_STEPS)] = 100
) -> Response:
    """A page of committed reading steps with the memory after each, oldest first."""
    held = resources.of(request)
    held.keys.scope(request)
    await held.store.status(job)
    return _json(await page_of_steps(held.store, job, after, limit))


@router.delete(
    "/answer/{job}",
    response_model=Job,
    summary="Cancel the job",
    responses=TOLD | responses(*COMMON, Code.JOB_NOT_FOUND),
)
async def cancel(request: Request, job: JobId) -> Response:
    """200 with the job when it has ended (now or before), 202 while its worker still has to drop its call. Safe to
    repeat."""
    held = resources.of(request)
    held.keys.scope(request)
    before = await held.store.status(job)
    status = await held.store.cancel(job)
    if before is JobStatus.QUEUED and status is JobStatus.CANCELLED:
        held.metrics.finished.labels(status=status.value).inc()
    found = await held.store.get(job)
    return _json(found, 200 if found.finished else 202, {} if found.finished else {"Retry-After": "1"})
