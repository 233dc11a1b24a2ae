"""Replies of the service made into our types or our errors; the one place where both are classified. Knows no HTTP
library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from .effects import Reply
from .errors import APIError, JobCancelled, JobFailed, ProtocolError, error_class
from .retry import parse_retry_after
from .types import AnswerResult, Job, JobStatus, Problem

M = TypeVar("M", bound=BaseModel)


def parse(reply: Reply, model: type[M], documents: Sequence[str] = ()) -> M:
    """The reply's body as `model`. Raises APIError for a refusal, ProtocolError for anything else."""
    if not 200 <= reply.status < 300:
        raise api_error(reply, documents)
    try:
        return model.model_validate_json(reply.body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in found["loc"]) or "body"
        raise ProtocolError(
            f"the reply is not a {model.__name__} ({where}: {found['msg']}); "
            "is this a longfold server, of a version near this client's?"
        ) from None


def api_error(reply: Reply, documents: Sequence[str] = ()) -> APIError:
    """The error of a reply that is not a success; a body that is no problem+json (a proxy's page) is not echoed."""
    return error_class(reply.status)(_problem(reply), documents)


def retry_after(reply: Reply) -> float | None:
    """Seconds the server asks to wait, from the header or else from the problem."""
    asked = parse_retry_after(reply.headers.get("retry-after"), reply.headers.get("date"))
    return asked if asked is not None or reply.status < 400 else _problem(reply).retry_after


def is_event_stream(reply: Reply) -> bool:
    """Whether the reply is an open event stream."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return reply.status == 200 and kind == "text/event-stream"


def result_of(job: Job, documents: Sequence[str] = ()) -> AnswerResult:
    """A finished job's answer. Raises JobFailed, JobCancelled, or ProtocolError for a job that holds neither answer
    nor problem.
    """
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(job)
    if job.status is JobStatus.FAILED:
        problem = job.error or Problem(
            title="Job failed", status=500, detail="The job failed without a reason", code="unknown"
        )
        raise JobFailed(problem, job, documents)
    if job.result is None:
        raise ProtocolError(f"job {job.id} is {job.status.value} but its reply holds no result.")
    return job.result


def _problem(reply: Reply) -> Problem:
    asked = parse_retry_after(reply.headers.get("retry-after"), reply.headers.get("date"))
    try:
        fields = json.loads(reply.body)
        problem = Problem.model_validate({"status": reply.status, "code": f"http_{reply.status}", **fields})
    except (ValueError, TypeError, RecursionError):
        problem = Problem(
            title=_phrase(reply.status), status=reply.status, detail=_unexplained(reply), code=f"http_{reply.status}"
        )
    changes: dict[str, object] = {"status": reply.status}
    if asked is not None:
        changes["retry_after"] = asked
    return problem.model_copy(update=changes)


def _unexplained(reply: Reply) -> str:
    if 300 <= reply.status < 400:
        target = reply.headers.get("location", "another address")
        return f"The server redirects to {target[:200]}; set the base URL to where it really is"
    return (
        f"The server, or a proxy before it, answered {reply.status} {_phrase(reply.status)}".rstrip()
        + " without an explanation"
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
