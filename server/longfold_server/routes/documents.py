"""POST /documents: an upload becomes a document that requests may name by its id."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from longfold_client.types import DocumentInfo
from longfold_server import resources
from longfold_server.answering.prepare import document_info
from longfold_server.auth import CallerDep
from longfold_server.bodies import bounded, media_type
from longfold_server.codes import Code
from longfold_server.problems import RequestProblem, problem, responses

router = APIRouter(tags=["documents"])

RAW = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, "required": True}


@router.post(
    "/documents",
    status_code=201,
    response_model=DocumentInfo,
    summary="Upload a document",
    openapi_extra={"requestBody": RAW},
    responses=responses(
        Code.UNAUTHORIZED,
        Code.KEY_REVOKED,
        Code.RATE_LIMITED,
        Code.STORE_UNAVAILABLE,
        Code.DOCUMENTS_UNAVAILABLE,
        Code.REQUEST_TOO_LARGE,
        Code.DOCUMENT_TOO_LARGE,
        Code.DOCUMENT_UNSUPPORTED,
        Code.DOCUMENT_EMPTY,
        Code.INVALID_REQUEST,
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
    stored = await held.documents.ingest_upload(body, request.headers.get("content-type", ""), title)
    await held.tenancy.owners.add(caller.tenant, stored.document_id)
    held.metrics.documents.labels(source="upload").inc()
    return Response(document_info(stored).model_dump_json(), status_code=201, media_type="application/json")
