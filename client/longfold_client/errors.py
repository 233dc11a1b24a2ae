"""What can go wrong when talking to the service, as one tree of exceptions; knows problem details, not how they travel.

LongfoldError
├── InvalidArgument (ValueError)      the call itself is wrong; nothing was sent
├── ConnectionFailed (ConnectionError) no usable reply after every retry
├── ProtocolError                     a reply that this client cannot read
├── WaitTimeout (TimeoutError)        `wait(timeout=...)` ran out; the job goes on
├── WebhookInvalid (ValueError)       a webhook that the service did not sign, or an old one
├── APIError                          the server said no, with a Problem
│   ├── Invalid                       400, 409, 411, 413, 414, 415, 422 and other 4xx
│   ├── Unauthorized                  401, 403
│   ├── NotFound (LookupError)        404, 410
│   ├── RateLimited                   429
│   ├── Unavailable                   502, 503, 504
│   └── ServerFault                   other 5xx
├── JobFailed                         the job ended without an answer, with its Problem
└── JobCancelled                      the job was cancelled
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .types import Job, Problem

HINTS = {
    "document_unreachable": "Check that the server can open this address.",
    "document_http_error": "Open the address in a browser; for one behind a login, give credentials for its origin.",
    "document_not_found": "Check the address.",
    "document_too_large": "Split the document, or raise the server's limit.",
    "document_empty": "The document holds no text; a scan needs text recognition first.",
    "document_unsupported": "Convert it to a format that is read: text, HTML, PDF, DOCX, ...",
    "document_encrypted": "Save a copy without a password.",
    "document_invalid": "Write the whole address, as https://host/path.",
    "document_changed": "Ask again to read it as it is now.",
    "document_missing": "Upload the document again.",
    "document_blocked": "The server reads public addresses only, unless its operator allows more; upload the file.",
    "document_timeout": "Try again, or download the file and upload it.",
    "document_unknown_id": "Upload the document again; uploads are kept for a limited time.",
    "document_undecodable": "It is damaged, or too much for its parser; save it anew or as plain text.",
    "request_too_large": "Upload the texts as documents, or name them by URL.",
    "direct_too_large": "Ask with mode auto or fold.",
    "question_too_long": "Ask in fewer words.",
    "window_too_small": "The operator must serve the model with a larger window, or set smaller chunks.",
    "deadline_exceeded": "Give more seconds.",
    "answer_unusable": "Ask again, or in other words.",
    "engine_unavailable": "The model did not answer for long; try again later.",
    "engine_rejected": "The model refused the request; the server's log says more.",
    "store_unavailable": "The server cannot reach its store; try again later.",
    "documents_unavailable": "The server cannot reach its documents; try again later.",
    "too_many_uploads": "End or delete an upload that is not complete.",
    "key_revoked": "Ask the operator for another key.",
    "rate_limited": "Send fewer requests, or ask the operator for a higher rate.",
    "too_many_jobs": "Wait for one of your jobs, or cancel one.",
    "tokens_spent": "Wait, or ask the operator for more tokens a day.",
    "idempotency_mismatch": "This Idempotency-Key was used for another request; make a new key.",
    "resume_refused": "Ask again; the service was configured anew meanwhile.",
    "job_poisoned": "Ask again; if it fails again, the server's log says why.",
    "webhook_disabled": "Ask the operator for a webhook secret, or wait for the job instead.",
    "webhook_invalid": "Give a public https URL.",
    "job_not_found": "Check the id; finished jobs are kept for a limited time.",
}
"""What to do, by the stable `Problem.code`."""

STATUS_HINTS = {
    401: "Set LONGFOLD_API_KEY or pass api_key=....",
    403: "This API key may not do that.",
    429: "Slow down or ask for a higher limit.",
}


DOCUMENT_PREFIX = re.compile(r"^documents\[\d+\](?: \(\S*\))?: ")
"""How the server's own sentences begin that are about a document; ours name it in the user's words."""


class LongfoldError(Exception):
    """Root of everything this package raises on purpose."""


class InvalidArgument(LongfoldError, ValueError):
    """The call is wrong as written; nothing was sent."""


class ConnectionFailed(LongfoldError, ConnectionError):
    """No usable reply arrived, after every retry."""

    job_id: str | None
    """The job that was being followed; it goes on without us."""

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class ProtocolError(LongfoldError):
    """The reply is not what the service's interface promises: another program, or a version too far away."""


class WaitTimeout(LongfoldError, TimeoutError):
    """`wait` reached its timeout; the job goes on."""

    job: Job

    def __init__(self, job: Job, seconds: float) -> None:
        super().__init__(
            f"job {job.id} is still {job.status.value} after {seconds:g} s; it goes on, wait for it again."
        )
        self.job = job


class WebhookInvalid(LongfoldError, ValueError):
    """A webhook whose signature, time or body is not right: answer 400 and do nothing."""


class APIError(LongfoldError):
    """The server refused a request; `problem` is its own explanation."""

    problem: Problem

    def __init__(self, problem: Problem, documents: Sequence[str] = ()) -> None:
        super().__init__(explain(problem, documents))
        self.problem = problem

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def code(self) -> str:
        return self.problem.code


class Invalid(APIError):
    """The request is not acceptable: 400, 409, 413, 415, 422 and the like."""


class Unauthorized(APIError):
    """The API key is missing, unknown or not allowed to do that: 401, 403."""


class NotFound(APIError, LookupError):
    """No such job or address: 404, 410."""


class RateLimited(APIError):
    """Too many requests, still after the retries: 429."""


class Unavailable(APIError):
    """The service or something behind it is down, still after the retries: 502, 503, 504."""


class ServerFault(APIError):
    """The server broke: 500 and other 5xx."""


class JobFailed(LongfoldError):
    """The job ended without an answer; `problem` says why."""

    problem: Problem
    job: Job

    def __init__(self, problem: Problem, job: Job, documents: Sequence[str] = ()) -> None:
        super().__init__(f"job {job.id} failed: {explain(problem, documents)}")
        self.problem = problem
        self.job = job


class JobCancelled(LongfoldError):
    """The job was cancelled before it had an answer."""

    job: Job

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} was cancelled.")
        self.job = job


def error_class(status: int) -> type[APIError]:
    """The kind of APIError of an HTTP status."""
    if status in (401, 403):
        return Unauthorized
    if status in (404, 410):
        return NotFound
    if status == 429:
        return RateLimited
    if status in (502, 503, 504):
        return Unavailable
    return ServerFault if status >= 500 else Invalid


def explain(problem: Problem, documents: Sequence[str] = ()) -> str:
    """One readable line: what happened, to which document (`documents`: their names in the request's order), what to
    do.
    """
    sentence = problem.detail.strip() or problem.title.strip() or f"the server answered {problem.status}"
    if problem.document is not None:
        index = problem.document
        name = f" ({documents[index]})" if 0 <= index < len(documents) else ""
        sentence = f"document {index + 1}{name}: {DOCUMENT_PREFIX.sub('', sentence)}"
    fields = [_field(error) for error in problem.errors[:5]]
    if fields:
        more = len(problem.errors) - len(fields)
        sentence = f"{sentence.rstrip('.')}: {'; '.join(fields)}" + (f"; and {more} more" if more else "")
    if sentence[-1] not in ".!?":
        sentence += "."
    hint = HINTS.get(problem.code) or STATUS_HINTS.get(problem.status)
    if problem.retry_after is not None and problem.status in (429, 503):
        hint = f"{hint or ''} The server asks to wait {problem.retry_after:g} s.".strip()
    return f"{sentence} [{problem.code}]" + (f" {hint}" if hint else "")


def _field(error: dict[str, object]) -> str:
    location = error.get("loc")
    where = ".".join(str(part) for part in location if part != "body") if isinstance(location, list | tuple) else ""
    message = str(error.get("msg", "not acceptable"))
    return f"{where}: {message}" if where else message
