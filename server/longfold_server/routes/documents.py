"""/documents: an upload or a URL becomes a document that requests may name by its id; what it would be to a job, and
its text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from longfold_client.types import DocumentInfo, DocumentPreview, DocumentText
from longfold_server import resources
from longfold_server.answering.manifest import document_info
from longfold_server.auth import Caller, CallerDep
from longfold_server.bodies import bounded, credentials_of, fetch_request, media_type
from longfold_server.codes import Code
from longfold_server.ingest import StoredDocument
from longfold_server.ingest.credentials import Credentials
from longfold_server.ingest.errors import unknown_id
from longfold_server.problems import RequestProblem, invalid, problem, responses
from longfold_server.resources import Resources

router = APIRouter(tags=["documents"])

MOST_CHARACTERS = 100_000
"""Of one span: some pages, far below what would hold the event loop."""

DocumentId = Annotated[
    str, Path(description="As returned by `POST /documents`.", pattern=r"^doc_[0-9a-f]{64}$", max_length=68)
]
COMMON = (
    Code.UNAUTHORIZED,
    Code.KEY_REVOKED,
    Code.RATE_LIMITED,
    Code.STORE_UNAVAILABLE,
    Code.DOCUMENTS_UNAVAILABLE,
    Code.INVALID_REQUEST,
)
FETCH = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/FetchRequest"}}},
    "required": True,
}
RAW = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, "required": True}


@router.post(
    "/documents",
    status_code=201,
    response_model=DocumentInfo,
    summary="Upload a document",
    openapi_extra={"requestBody": RAW},
    responses=responses(
        *COMMON,
        Code.REQUEST_TOO_LARGE,
        Code.DOCUMENT_TOO_LARGE,
        Code.DOCUMENT_UNSUPPORTED,
        Code.DOCUMENT_EMPTY,
    ),
)
async def upload(
    request: Request, caller: CallerDep, title: Annotated[str | None, Query(max_length=500)] = None
) -> Response:
    """The raw file as the body, streamed to disk. The same content always gets the same id, whoever uploads it;
    it can be named by its id only by those who did."""
    held = resources.of(request)
    if media_type(request) == "multipart/form-data":
        raise RequestProblem(problem(Code.UNSUPPORTED_MEDIA_TYPE, "send the file itself as the body, not a form"))
    most = min(held.settings.upload_max_bytes, caller.limits.upload_bytes or held.settings.upload_max_bytes)
    body = bounded(request, most, "an upload")
    kind = request.headers.get("content-type", "")
    stored = await held.documents.ingest_upload(body, kind, title, scope=caller.tenant)
    return await _taken(held, caller, stored, "upload")


@router.post(
    "/documents/fetch",
    status_code=201,
    response_model=DocumentInfo,
    summary="Fetch a document",
    openapi_extra={"requestBody": FETCH},
    responses=responses(
        *COMMON,
        Code.INVALID_JSON,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.REQUEST_TOO_LARGE,
        Code.DOCUMENT_TOO_LARGE,
        Code.DOCUMENT_UNSUPPORTED,
        Code.DOCUMENT_EMPTY,
    ),
)
async def fetch(request: Request, caller: CallerDep) -> Response:
    """Takes in a document by its URL, as a job would. One that was fetched before is only sent again if it changed."""
    held = resources.of(request)
    asked = await fetch_request(request)
    headers = Credentials(credentials_of(asked.credentials))
    async with held.fetching.turn(caller.tenant):
        stored = await held.documents.ingest_url(asked.url, asked.title, credentials=headers, scope=caller.tenant)
    return await _taken(held, caller, stored, "url")


async def _taken(held: Resources, caller: Caller, stored: StoredDocument, source: str) -> Response:
    info = document_info(stored)
    await held.tenancy.owners.add(caller.tenant, info)
    held.metrics.documents.labels(source=source).inc()
    return _json(info, 201)


@router.get(
    "/documents/{document}",
    response_model=DocumentPreview,
    summary="What a document would be to a job",
    responses=responses(*COMMON, Code.DOCUMENT_UNKNOWN_ID),
)
async def preview(
    request: Request,
    caller: CallerDep,
    document: DocumentId,
    chunk_tokens: Annotated[int | None, Query(ge=16, le=1_000_000)] = None,
) -> Response:
    """Its type, size, tokens and chunks, where its pages and headings begin, and lines of it as they would be cited."""
    held = resources.of(request)
    known = await _known(held, caller, document)
    return _json(await held.previews.preview(known, chunk_tokens, scope=caller.tenant))


@router.get(
    "/documents/{document}/text",
    response_model=DocumentText,
    summary="A part of a document's text",
    responses=responses(*COMMON, Code.DOCUMENT_UNKNOWN_ID),
)
async def text(
    request: Request,
    caller: CallerDep,
    document: DocumentId,
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
    end: Annotated[int | None, Query(ge=0, le=2**53)] = None,
) -> Response:
    """Characters `start` to `end` (by default, and at most, 100,000 of them) of the canonical text, in which citations
    count."""
    held = resources.of(request)
    found = await _known(held, caller, document)
    start = min(start, found.characters)
    last = start + MOST_CHARACTERS if end is None else min(end, start + MOST_CHARACTERS)
    if last < start:
        raise invalid("end is at least start", ["query", "end"], "smaller than start")
    return _json(await held.previews.text(found, start, last))


async def _known(held: Resources, caller: Caller, document: str) -> DocumentInfo:
    """The document as the caller's tenant brought it. Raises `DocumentError` (`document_unknown_id`)."""
    if not await held.tenancy.owners.owns(caller.tenant, document):
        raise unknown_id()
    noted = await held.tenancy.owners.facts(caller.tenant, document)
    if noted is None or not noted.title:
        stored = document_info(await held.documents.get(document))
        return stored if noted is None else noted.model_copy(update={"title": stored.title})
    return noted


def _json(found: BaseModel, status: int = 200) -> Response:
    return Response(found.model_dump_json(), status_code=status, media_type="application/json")
