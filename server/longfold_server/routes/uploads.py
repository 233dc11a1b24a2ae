"""/uploads: files in parts by the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload) with its extensions
creation, expiration and termination; a file that has arrived whole becomes a document."""

from __future__ import annotations

import base64
import binascii
from email.utils import format_datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longfold_client.types import DocumentInfo
from longfold_server import resources
from longfold_server.answering.manifest import document_info
from longfold_server.auth import Caller, CallerDep
from longfold_server.bodies import bounded, media_type, too_large
from longfold_server.codes import Code
from longfold_server.errors import Refused
from longfold_server.problems import RequestProblem, invalid, problem, responses
from longfold_server.resources import Resources
from longfold_server.uploads import Upload

VERSION = "1.0.0"
PART_TYPE = "application/offset+octet-stream"
LONGEST_METADATA = 8_192


class TusFields:
    """Names the version of tus in every reply below /uploads, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/uploads"):
            return await self._app(scope, receive, send)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"tus-resumable", VERSION.encode())]
            await send(message)

        await self._app(scope, receive, telling)


async def tus_version(request: Request) -> None:
    """Every request but OPTIONS names the version. Raises `RequestProblem` (412)."""
    if request.headers.get("tus-resumable") != VERSION:
        detail = f"send Tus-Resumable: {VERSION}"
        raise RequestProblem(problem(Code.TUS_VERSION, detail), {"Tus-Version": VERSION})


options_router = APIRouter(tags=["uploads"])
router = APIRouter(tags=["uploads"], dependencies=[Depends(tus_version)])

UploadId = Annotated[str, Path(description="As the Location of `POST /uploads` ends.", max_length=100)]
Version = Annotated[str, Header(alias="Tus-Resumable", pattern=r"^1\.0\.0$", description="Always 1.0.0.")]
Size = Annotated[int, Header(ge=0, le=2**53)]
PART = {"content": {PART_TYPE: {"schema": {"type": "string", "format": "binary"}}}, "required": True}
COMMON = (
    Code.UNAUTHORIZED,
    Code.KEY_REVOKED,
    Code.RATE_LIMITED,
    Code.STORE_UNAVAILABLE,
    Code.DOCUMENTS_UNAVAILABLE,
    Code.INVALID_REQUEST,
    Code.TUS_VERSION,
)


@options_router.options("/uploads", status_code=204, summary="What uploads can do")
async def capabilities(request: Request) -> Response:
    """Version, extensions and the largest file, as headers."""
    held = resources.of(request)
    told = {
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,expiration,termination",
        "Tus-Max-Size": str(held.settings.upload_max_bytes),
    }
    return Response(status_code=204, headers=told)


@router.post(
    "/uploads",
    status_code=201,
    response_class=Response,
    summary="Begin an upload",
    responses=responses(*COMMON, Code.REQUEST_TOO_LARGE, Code.TOO_MANY_UPLOADS),
)
async def create(
    request: Request,
    caller: CallerDep,
    version: Version,
    upload_length: Size,
    upload_metadata: Annotated[str | None, Header(max_length=LONGEST_METADATA)] = None,
) -> Response:
    """`Location` is where the parts go. `Upload-Metadata` may name `filename` and `filetype`, in Base64."""
    held = resources.of(request)
    most = _largest(held, caller)
    if upload_length > most:
        raise too_large(most, "an upload")
    told = _metadata(upload_metadata or "")
    title, kind = told.get("filename", "")[:500], told.get("filetype", "")[:200]
    made = await held.uploads.create(caller.tenant, upload_length, title, kind)
    return Response(status_code=201, headers=_state(made) | {"Location": f"/uploads/{made.id}"})


@router.head(
    "/uploads/{upload}",
    response_class=Response,
    summary="How far an upload is",
    responses=responses(*COMMON, Code.UPLOAD_NOT_FOUND),
)
async def look(request: Request, caller: CallerDep, version: Version, upload: UploadId) -> Response:
    """`Upload-Offset` is where the next part begins."""
    return Response(headers=_state(await resources.of(request).uploads.find(caller.tenant, upload)))


@router.patch(
    "/uploads/{upload}",
    status_code=204,
    response_class=Response,
    summary="Go on with an upload",
    openapi_extra={"requestBody": PART},
    responses=responses(
        *COMMON, Code.UPLOAD_NOT_FOUND, Code.UPLOAD_CONFLICT, Code.UNSUPPORTED_MEDIA_TYPE, Code.REQUEST_TOO_LARGE
    ),
)
async def append(
    request: Request, caller: CallerDep, version: Version, upload: UploadId, upload_offset: Size
) -> Response:
    """The body are the bytes from `Upload-Offset` on, as many as the caller likes. What has arrived counts, also when
    the connection breaks."""
    held = resources.of(request)
    if media_type(request) != PART_TYPE:
        raise RequestProblem(problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send the part as {PART_TYPE}"))
    found = await held.uploads.find(caller.tenant, upload)
    body = bounded(request, max(0, found.length - upload_offset), "the rest of this upload")
    return Response(
        status_code=204, headers=_state(await held.uploads.append(caller.tenant, upload, upload_offset, body))
    )


@router.delete(
    "/uploads/{upload}",
    status_code=204,
    response_class=Response,
    summary="Give an upload up",
    responses=responses(*COMMON, Code.UPLOAD_NOT_FOUND),
)
async def remove(request: Request, caller: CallerDep, version: Version, upload: UploadId) -> Response:
    """What has arrived is removed; a document that it has become stays."""
    await resources.of(request).uploads.remove(caller.tenant, upload)
    return Response(status_code=204)


@router.post(
    "/uploads/{upload}/document",
    status_code=201,
    response_model=DocumentInfo,
    summary="Make an upload a document",
    responses=responses(
        *COMMON,
        Code.UPLOAD_NOT_FOUND,
        Code.UPLOAD_INCOMPLETE,
        Code.DOCUMENT_TOO_LARGE,
        Code.DOCUMENT_UNSUPPORTED,
        Code.DOCUMENT_EMPTY,
    ),
)
async def become(request: Request, caller: CallerDep, version: Version, upload: UploadId) -> Response:
    """The document, as `POST /documents` answers. May be repeated: the same document again."""
    held = resources.of(request)
    found = await held.uploads.find(caller.tenant, upload)
    document = found.document
    if document is None:
        content = held.uploads.content(caller.tenant, found)
        kind, title = found.media_type, found.title or None
        try:
            stored = await held.documents.ingest_upload(content, kind, title, scope=caller.tenant)
        except Refused as error:
            found = await held.uploads.find(caller.tenant, upload)
            if error.code != Code.UPLOAD_CONFLICT or found.document is None:
                raise
            document = found.document  # of the same request, sent twice
        else:
            document = document_info(stored)
            held.metrics.documents.labels(source="upload").inc()
    await held.tenancy.owners.add(caller.tenant, document)
    if found.document is None:
        await held.uploads.become(caller.tenant, found, document)
    return Response(document.model_dump_json(), status_code=201, media_type="application/json")


def _largest(held: Resources, caller: Caller) -> int:
    return min(held.settings.upload_max_bytes, caller.limits.upload_bytes or held.settings.upload_max_bytes)


def _state(upload: Upload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(upload.expires, usegmt=True),
        "Cache-Control": "no-store",
    }


def _metadata(header: str) -> dict[str, str]:
    """`key BASE64, key BASE64`. Raises `RequestProblem` (422)."""
    found = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            where: list[str | int] = ["header", "upload-metadata"]
            raise invalid("Upload-Metadata reads 'key BASE64,key BASE64'", where, "not Base64 of UTF-8") from None
    return found
