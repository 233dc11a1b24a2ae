"""Every error as RFC 9457 problem details with a stable code. The one place where exceptions become problems; knows no
route."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from longfold_agent.errors import (
    AgentError,
    ContextOverflow,
    EngineRejected,
    InvalidReply,
    ResumeRefused,
    WindowTooSmall,
)
from longfold_client.types import Problem
from longfold_server.codes import Code, status_of, title_of
from longfold_server.errors import (
    CodedError,
    ConfigError,
    DocumentError,
    DocumentsUnavailable,
    IdempotencyMismatch,
    JobNotFound,
    StoreUnavailable,
    TooManyJobs,
)

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
"""Validation errors told of one request; a hostile body could have a million."""
LONGEST_NAME = 80
"""Characters of a field's name that are told: unknown fields' names come from the caller."""
FREE_PLACE_AFTER = 5.0
"""Seconds after which to ask again while a tenant has too many jobs: nobody knows when one of them ends."""
RETRY_AFTER = 2.0
"""Seconds after which to ask again while the store is away or the replica stops."""
GONE = 499
"""Of a request whose sender left before its body was here: for metrics and logs, where nginx's number is known."""

log = logging.getLogger(__name__)


class RequestProblem(Exception):
    """A problem to be answered as it is."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.headers = dict(headers or {})


def problem(
    code: str,
    detail: str,
    *,
    document: int | None = None,
    retry_after: float | None = None,
    errors: list[dict[str, object]] | None = None,
) -> Problem:
    """A problem with the code's own title and status."""
    return Problem(
        title=title_of(code),
        status=status_of(code),
        detail=detail,
        code=code,
        document=document,
        retry_after=retry_after,
        errors=errors or [],
    )


def problem_of(error: BaseException) -> Problem | None:
    """The problem of an error that was raised on purpose; None for a bug."""
    match error:
        case DocumentError():
            return problem(error.code, error.detail, document=error.document_index)
        case CodedError():
            return problem(error.code, error.detail)
        case JobNotFound():
            return problem(Code.JOB_NOT_FOUND, "there is no such job, or its retention has ended")
        case TooManyJobs():
            return problem(Code.TOO_MANY_JOBS, str(error), retry_after=FREE_PLACE_AFTER)
        case IdempotencyMismatch():
            return problem(Code.IDEMPOTENCY_MISMATCH, str(error))
        case StoreUnavailable():
            return problem(Code.STORE_UNAVAILABLE, "the job store is away; try again soon", retry_after=RETRY_AFTER)
        case DocumentsUnavailable():
            detail = "the document store is away; try again soon"
            return problem(Code.DOCUMENTS_UNAVAILABLE, detail, retry_after=RETRY_AFTER)
        case EngineRejected() | ContextOverflow():
            return problem(Code.ENGINE_REJECTED, f"the engine refused the request: {error}")
        case WindowTooSmall():
            return problem(Code.WINDOW_TOO_SMALL, str(error))
        case ResumeRefused():
            return problem(Code.RESUME_REFUSED, str(error))
        case InvalidReply():
            return problem(Code.ANSWER_UNUSABLE, str(error))
        case AgentError():
            return problem(Code.ENGINE_REJECTED, str(error))
    return None


def invalid(detail: str, loc: list[str | int], message: str, kind: str = "value_error") -> RequestProblem:
    """A request that breaks one rule."""
    return RequestProblem(problem(Code.INVALID_REQUEST, detail, errors=[{"loc": loc, "msg": message, "type": kind}]))


def invalid_body(error: ValidationError) -> RequestProblem:
    """What pydantic found in a body: places, messages and types, never the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found and found[0]["type"] == "json_invalid":
        return RequestProblem(problem(Code.INVALID_JSON, found[0]["msg"][:200]))
    return RequestProblem(_not_valid(found, ("body",)))


def _not_valid(found: Sequence[Mapping[str, Any]], below: tuple[str, ...] = ()) -> Problem:
    """The problem of what pydantic found `below` a place; names the document where all of it is about one."""
    told: list[dict[str, object]] = [
        {"loc": [*below, *_short(one["loc"])], "msg": _said(one["msg"]), "type": one["type"]}
        for one in found[:MOST_ERRORS]
    ]
    more = f" (the first {MOST_ERRORS} are listed)" if len(found) > MOST_ERRORS else ""
    detail = f"the request has {len(found)} error{'s' if len(found) != 1 else ''}{more}"
    about = {one["loc"][1] if one["loc"][:1] == ("documents",) and len(one["loc"]) > 1 else None for one in found}
    return problem(Code.INVALID_REQUEST, detail, document=about.pop() if len(about) == 1 else None, errors=told)


def _said(message: str) -> str:
    """A message without the word that pydantic puts before those of our own checks."""
    return message.removeprefix("Value error, ")[:200]


def _short(loc: tuple[int | str, ...]) -> list[int | str]:
    return [part if isinstance(part, int) else part[:LONGEST_NAME] for part in loc]


def respond(found: Problem, request: Request, headers: Mapping[str, str] | None = None) -> Response:
    """The response of a problem."""
    body = found.model_copy(update={"instance": request.url.path[:200]}).model_dump_json(exclude_none=True)
    extra = dict(headers or {})
    if found.retry_after is not None:
        extra.setdefault("Retry-After", str(max(1, round(found.retry_after))))
    return Response(body, status_code=found.status, media_type=MEDIA_TYPE, headers=extra)


_BY_STATUS = {
    401: Code.UNAUTHORIZED,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.REQUEST_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
}


def install(app: FastAPI) -> None:
    """Makes every error of `app` a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestProblem)
        return respond(error.problem, request, error.headers)

    async def on_known(request: Request, error: Exception) -> Response:
        return respond(problem_of(error) or problem(Code.INTERNAL_ERROR, "unexpected error"), request)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(
            error.status_code, Code.INVALID_REQUEST if error.status_code < 500 else Code.INTERNAL_ERROR
        )
        found = problem(code, title_of(code)).model_copy(update={"status": error.status_code})
        return respond(found, request, error.headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(_not_valid(error.errors()), request)

    async def on_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=GONE)

    async def on_config(request: Request, error: Exception) -> Response:
        log.error("internal_error", extra={"path": request.url.path[:200]}, exc_info=error)
        return respond(problem(Code.INTERNAL_ERROR, str(error)), request)

    async def on_bug(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(8)
        log.error("internal_error", extra={"request": reference, "path": request.url.path[:200]}, exc_info=error)
        return respond(
            problem(Code.INTERNAL_ERROR, f"an unexpected error; its reference is {reference}"),
            request,
            {"X-Request-Id": reference},
        )

    app.add_exception_handler(RequestProblem, on_problem)
    for known in (
        CodedError,
        JobNotFound,
        TooManyJobs,
        IdempotencyMismatch,
        StoreUnavailable,
        DocumentsUnavailable,
    ):
        app.add_exception_handler(known, on_known)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ConfigError, on_config)
    app.add_exception_handler(Exception, on_bug)


def responses(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """OpenAPI documentation of the problems a route may answer with."""
    told: dict[int | str, dict[str, Any]] = {}
    for status in sorted({status_of(code) for code in codes}):
        here = [code for code in codes if status_of(code) == status]
        examples = {code.value: {"value": problem(code, title_of(code)).model_dump(exclude_none=True)} for code in here}
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}}
        told[status] = {"description": "; ".join(title_of(code) for code in here), "content": content}
    return told
