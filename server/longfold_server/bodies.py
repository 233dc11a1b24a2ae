"""Request bodies within bounds, whatever Content-Length says. Knows no route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from longfold_client.types import AnswerRequest, FetchRequest, OriginCredentials
from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.canonical import is_blank
from longfold_server.ingest.credentials import Credentials
from longfold_server.problems import RequestProblem, invalid, invalid_body, problem

M = TypeVar("M", bound=BaseModel)

THREADED_BYTES = 256_000
"""Larger bodies are parsed beside the event loop."""
SMALL_BODY = 1_000_000
"""For a request without texts: a URL and its credentials."""
DISCARDED_BYTES, DISCARDING_SECONDS = 32_000_000, 3.0
"""How much of a body that is refused is still taken from the wire."""


def declared_length(request: Request) -> int:
    """Content-Length, 0 when it is not given."""
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else 0


def too_large(limit: int, what: str) -> RequestProblem:
    """413; the connection is closed, since the rest of the body stays unread."""
    return RequestProblem(
        problem(Code.REQUEST_TOO_LARGE, f"{what} may have at most {limit:,} bytes"), {"Connection": "close"}
    )


async def bounded(request: Request, limit: int, what: str) -> AsyncIterator[bytes]:
    """The body in pieces. Raises `RequestProblem` (413) when its length or what has arrived passes `limit` bytes."""
    size, over = 0, declared_length(request) > limit
    if over:
        await _discard(request)
        raise too_large(limit, what)
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            over = True
            break
        if piece:
            yield piece
    if over:
        await _discard(request)
        raise too_large(limit, what)


async def _discard(request: Request) -> None:
    """Reads a little further: a caller that is still sending when its connection is reset never sees the answer."""
    left = DISCARDED_BYTES
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DISCARDING_SECONDS):
            while left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def media_type(request: Request) -> str:
    """The Content-Type without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def answer_request(request: Request, json_limit: int, inline_limit: int) -> AnswerRequest:
    """The body of `POST /answer`. Raises `RequestProblem`: 415, 413, 400 for what is not JSON, 422 for what is not a
    request."""
    body = await _json_body(request, json_limit)
    if len(body) > THREADED_BYTES:
        found = await asyncio.to_thread(_parse, AnswerRequest, body)
    else:
        found = _parse(AnswerRequest, body)
    inline = sum(len(document.text.encode()) for document in found.documents if document.text is not None)
    if inline > inline_limit:
        raise too_large(inline_limit, "inline texts together (POST /documents takes larger ones)")
    if "\0" in found.question:
        raise invalid("the question holds a NUL character", ["body", "question"], "NUL characters are not allowed")
    if is_blank(found.question):
        raise invalid("the question is empty", ["body", "question"], "nothing in it can be seen")
    return found


async def fetch_request(request: Request) -> FetchRequest:
    """The body of `POST /documents/fetch`. Raises `RequestProblem` like `answer_request`."""
    return _parse(FetchRequest, await _json_body(request, SMALL_BODY))


async def _json_body(request: Request, limit: int) -> bytes:
    kind = media_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestProblem(problem(Code.UNSUPPORTED_MEDIA_TYPE, "send the request as application/json"))
    body = bytearray()
    async for piece in bounded(request, limit, "the request"):
        body += piece
    return bytes(body)


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None


def credentials_of(given: Sequence[OriginCredentials]) -> dict[str, dict[str, str]]:
    """Headers by origin. Raises `RequestProblem` (422), which shows no value."""
    headers: dict[str, dict[str, str]] = {}
    for index, one in enumerate(given):
        told = {name: value.get_secret_value() for name, value in one.headers.items()}
        try:
            Credentials({one.origin: told})
        except DocumentError as error:
            raise invalid(error.detail, ["body", "credentials", index], "these credentials cannot be sent") from None
        headers.setdefault(one.origin, {}).update(told)
    return headers
