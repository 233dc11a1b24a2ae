"""/answer: ask, look, follow, page through the steps, cancel. Three ways to wait: not at all, `Prefer: wait=N`, an
event stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from longfold_client.types import AnswerRequest, Job, JobStatus, OnDocumentError, Steps
from longfold_server import resources
from longfold_server.answering.manifest import document_info
from longfold_server.auth import Caller, CallerDep
from longfold_server.bodies import answer_request, credentials_of
from longfold_server.codes import Code
from longfold_server.errors import JobNotFound
from longfold_server.ingest.errors import naming, unknown_id
from longfold_server.ingest.fetch import check_url
from longfold_server.ingest.location import display
from longfold_server.jobs.records import Source, StoredRequest, body_hash, new_job_id
from longfold_server.jobs.unfolding import page_of_steps
from longfold_server.problems import RequestProblem, invalid, problem, responses
from longfold_server.resources import Resources
from longfold_server.sse import HEADERS, stream, wait_for_end
from longfold_server.webhooks.targets import target_of

LONGEST_WAIT = 60.0
"""Seconds; longer than most proxies keep a silent request open."""
LONGEST_KEY = 255
MOST_STEPS = 200
EVENT_STREAM = "text/event-stream"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d+)\"?\s*(?=$|[,;])", re.IGNORECASE | re.ASCII)
_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", re.IGNORECASE | re.ASCII)

router = APIRouter(tags=["answer"])

JobId = Annotated[str, Path(description="As returned by `POST /answer`.", max_length=100)]
Number = Annotated[int, Query(ge=0, le=2**53)]
STREAMED = {
    "content": {
        EVENT_STREAM: {
            "schema": {
                "description": "One event of the stream; `data` is its JSON.",
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "event": {"type": "string"},
                    "data": {"type": "string"},
                    "retry": {"type": "integer"},
                },
            }
        }
    }
}
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
COMMON = (
    Code.UNAUTHORIZED,
    Code.KEY_REVOKED,
    Code.RATE_LIMITED,
    Code.STORE_UNAVAILABLE,
    Code.INVALID_REQUEST,
)


def wait_seconds(request: Request) -> float | None:
    """N of `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT`; None without it."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return None if found is None else min(LONGEST_WAIT, float(found[1]))


def wants_events(request: Request) -> bool:
    """Whether the caller names the event stream in `Accept` (RFC 9110, 12.5.1), and not JSON as what it likes better;
    of equals the one that is named first."""
    named: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(",".join(request.headers.getlist("accept")).split(",")):
        kind, *parameters = part.split(";")
        quality = next((float(found[1]) for one in parameters if (found := _QUALITY.fullmatch(one))), 1.0)
        named.setdefault(kind.strip().lower(), (quality, -place))
    wish = named.get(EVENT_STREAM, (0.0, 0))
    return wish[0] > 0 and wish > named.get("application/json", (0.0, 0))


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
        Code.DOCUMENT_INVALID,
        Code.DOCUMENT_BLOCKED,
        Code.DOCUMENTS_UNAVAILABLE,
        Code.TOO_MANY_JOBS,
        Code.TOKENS_SPENT,
        Code.WEBHOOK_DISABLED,
        Code.WEBHOOK_INVALID,
    ),
)
async def ask(request: Request, caller: CallerDep) -> Response:
    """Makes a job. `Idempotency-Key`: the same key and body give the same job again. `Prefer: wait=N`: answers with the
    finished job if it ends in time. `Accept: text/event-stream`: answers with its events."""
    held, limits = resources.of(request), caller.limits
    key = _idempotency_key(request)
    inline = min(held.settings.inline_max_bytes, limits.upload_bytes or held.settings.inline_max_bytes)
    asked = await answer_request(request, held.settings.json_max_bytes, inline)
    if limits.max_documents is not None and len(asked.documents) > limits.max_documents:
        detail = f"a request may name at most {limits.max_documents} documents"
        raise RequestProblem(problem(Code.REQUEST_TOO_LARGE, detail))
    job = new_job_id(key, caller.tenant)
    body = body_hash(asked)
    left = await _tokens_left(held, caller, job)
    told, parent = {"longfold.job.id": job}, request.headers.get("traceparent", "")
    with held.spans.span("POST /answer", told, kind="SERVER", parent=parent) as span:
        stored = await _stored(held, caller, asked, left, span.traceparent)
        made = await held.store.create(
            job, body, stored, tenant=caller.tenant, priority=asked.priority, tenant_jobs=limits.jobs
        )
        held.metrics.created.inc(made)
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


async def _tokens_left(held: Resources, caller: Caller, job: str) -> int | None:
    """What the tenant's day has left, None without a limit. Raises `RequestProblem` (429) when that is nothing and the
    request would make a new job; one that is repeated gets the job it made."""
    limit = caller.limits.tokens_per_day
    if limit is None:
        return None
    day = await held.tenancy.usage.spend(caller.tenant, 0)
    if day.spent >= limit and not await _known(held, caller, job):
        detail = f"{day.spent:,} of {limit:,} tokens are spent today (UTC)"
        raise RequestProblem(problem(Code.TOKENS_SPENT, detail, retry_after=day.seconds))
    return max(1, limit - day.spent)


async def _known(held: Resources, caller: Caller, job: str) -> bool:
    try:
        await held.store.status(job, tenant=caller.tenant)
    except JobNotFound:
        return False
    return True


async def _stored(
    held: Resources, caller: Caller, asked: AnswerRequest, tokens: int | None, trace: str
) -> StoredRequest:
    """The request without its texts: they go to the document store at once. The job may use at most `tokens`, whatever
    it asked for.

    Raises `DocumentError` for texts and ids that cannot be read and URLs that nobody can fetch, `Refused` for a
    webhook that cannot be sent.
    """
    webhook = target_of(asked.webhook, held.settings)
    sources = []
    for index, document in enumerate(asked.documents):
        title = document.title or None
        if document.text is not None:
            stored = await held.documents.ingest_text(document.text, title, index)
            # Without a title it is named by its first line, and texts never reach Redis.
            noted = document_info(stored).model_copy(update={"title": title or ""})
            await held.tenancy.owners.add(caller.tenant, noted)
            sources.append(Source(document_id=stored.document_id, title=title))
            held.metrics.documents.labels(source="text").inc()
        elif document.document_id is not None:
            with naming("", index):
                if not await held.tenancy.owners.owns(caller.tenant, document.document_id):
                    raise unknown_id()
            await held.documents.get(document.document_id, title, index)
            sources.append(Source(document_id=document.document_id, title=title))
        else:
            assert document.url is not None
            if asked.on_document_error is OnDocumentError.FAIL:
                with naming(display(document.url), index):
                    check_url(document.url)
            sources.append(Source(url=document.url, title=title))
    limits = asked.limits
    if tokens is not None:
        limits = limits.model_copy(update={"tokens": min(tokens, limits.tokens or tokens)})
    return StoredRequest(
        asked.question,
        tuple(sources),
        asked.mode,
        limits,
        asked.on_document_error,
        webhook=webhook,
        trace=trace,
        credentials=credentials_of(asked.credentials),
    )


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
async def look(request: Request, caller: CallerDep, job: JobId) -> Response:
    """The job now; with `Prefer: wait=N` when it has ended or N seconds later; with `Accept: text/event-stream` its
    events."""
    held = resources.of(request)
    await held.store.status(job, tenant=caller.tenant)
    return await _respond(request, held, job, after=_last_event_id(request) or 0)


@router.get(
    "/answer/{job}/events",
    response_class=StreamingResponse,
    summary="Follow the job",
    responses=EVENTS | responses(*COMMON, Code.JOB_NOT_FOUND),
)
async def events(request: Request, caller: CallerDep, job: JobId, starting_after: Number = 0) -> Response:
    """Server-sent events behind number `starting_after` or the `Last-Event-ID` header, until a final one."""
    held = resources.of(request)
    last = _last_event_id(request)
    await held.store.status(job, tenant=caller.tenant)
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
    request: Request,
    caller: CallerDep,
    job: JobId,
    after: Number = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_STEPS)] = 100,
) -> Response:
    """A page of committed reading steps with the memory after each, oldest first."""
    held = resources.of(request)
    await held.store.status(job, tenant=caller.tenant)
    return _json(await page_of_steps(held.store, job, after, limit))


@router.delete(
    "/answer/{job}",
    response_model=Job,
    summary="Cancel the job",
    responses=TOLD | responses(*COMMON, Code.JOB_NOT_FOUND),
)
async def cancel(request: Request, caller: CallerDep, job: JobId) -> Response:
    """200 with the job when it has ended (now or before), 202 while its worker still has to drop its call. Safe to
    repeat."""
    held = resources.of(request)
    before = await held.store.status(job, tenant=caller.tenant)
    status = await held.store.cancel(job, tenant=caller.tenant)
    if before is JobStatus.QUEUED and status is JobStatus.CANCELLED:
        held.metrics.finished.labels(status=status.value).inc()
    found = await held.store.get(job)
    return _json(found, 200 if found.finished else 202, {} if found.finished else {"Retry-After": "1"})
