"""The stable machine-readable codes of every problem the service reports, with their HTTP status and title. Knows no
exception."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """What went wrong; part of the API, never renamed."""

    # the request
    INVALID_REQUEST = "invalid_request"
    INVALID_JSON = "invalid_json"
    UNAUTHORIZED = "unauthorized"
    KEY_REVOKED = "key_revoked"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_JOBS = "too_many_jobs"
    TOKENS_SPENT = "tokens_spent"
    NOT_FOUND = "not_found"
    JOB_NOT_FOUND = "job_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TOO_LARGE = "request_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    WEBHOOK_DISABLED = "webhook_disabled"
    WEBHOOK_INVALID = "webhook_invalid"
    UPLOAD_NOT_FOUND = "upload_not_found"
    UPLOAD_CONFLICT = "upload_conflict"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    TOO_MANY_UPLOADS = "too_many_uploads"
    TUS_VERSION = "tus_version"
    # the service
    INTERNAL_ERROR = "internal_error"
    STORE_UNAVAILABLE = "store_unavailable"
    DOCUMENTS_UNAVAILABLE = "documents_unavailable"
    # the documents
    DOCUMENT_UNREACHABLE = "document_unreachable"
    DOCUMENT_HTTP_ERROR = "document_http_error"
    DOCUMENT_NOT_FOUND = "document_not_found"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DOCUMENT_EMPTY = "document_empty"
    DOCUMENT_UNSUPPORTED = "document_unsupported"
    DOCUMENT_UNDECODABLE = "document_undecodable"
    DOCUMENT_ENCRYPTED = "document_encrypted"
    DOCUMENT_BLOCKED = "document_blocked"
    DOCUMENT_TIMEOUT = "document_timeout"
    DOCUMENT_UNKNOWN_ID = "document_unknown_id"
    DOCUMENT_INVALID = "document_invalid"
    DOCUMENT_CHANGED = "document_changed"
    DOCUMENT_MISSING = "document_missing"
    # the job
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_REJECTED = "engine_rejected"
    WINDOW_TOO_SMALL = "window_too_small"
    DIRECT_TOO_LARGE = "direct_too_large"
    QUESTION_TOO_LONG = "question_too_long"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    ANSWER_UNUSABLE = "answer_unusable"
    RESUME_REFUSED = "resume_refused"
    JOB_POISONED = "job_poisoned"


STATUS: dict[Code, int] = {
    Code.INVALID_REQUEST: 422,
    Code.INVALID_JSON: 400,
    Code.UNAUTHORIZED: 401,
    Code.KEY_REVOKED: 403,
    Code.RATE_LIMITED: 429,
    Code.TOO_MANY_JOBS: 429,
    Code.TOKENS_SPENT: 429,
    Code.NOT_FOUND: 404,
    Code.JOB_NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.REQUEST_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.IDEMPOTENCY_MISMATCH: 422,
    Code.UPLOAD_NOT_FOUND: 404,
    Code.UPLOAD_CONFLICT: 409,
    Code.UPLOAD_INCOMPLETE: 409,
    Code.TOO_MANY_UPLOADS: 429,
    Code.TUS_VERSION: 412,
    Code.INTERNAL_ERROR: 500,
    Code.STORE_UNAVAILABLE: 503,
    Code.DOCUMENTS_UNAVAILABLE: 503,
    Code.DOCUMENT_TOO_LARGE: 413,
    Code.DOCUMENT_CHANGED: 409,
    Code.DOCUMENT_MISSING: 410,
    Code.DOCUMENT_UNSUPPORTED: 415,
    Code.ENGINE_UNAVAILABLE: 503,
    Code.ENGINE_REJECTED: 502,
    Code.WINDOW_TOO_SMALL: 500,
    Code.ANSWER_UNUSABLE: 502,
    Code.RESUME_REFUSED: 500,
    Code.JOB_POISONED: 500,
    Code.DEADLINE_EXCEEDED: 504,
}
"""HTTP status per code; 422 where none is named. A failed job's `error.status` is the status its request would have
had."""

TITLE: dict[Code, str] = {
    Code.INVALID_REQUEST: "The request is not valid",
    Code.INVALID_JSON: "The body is not JSON",
    Code.UNAUTHORIZED: "A valid API key is needed",
    Code.KEY_REVOKED: "The API key was revoked",
    Code.RATE_LIMITED: "Too many requests",
    Code.TOO_MANY_JOBS: "Too many unfinished jobs",
    Code.TOKENS_SPENT: "The tokens of the day are spent",
    Code.NOT_FOUND: "No such page",
    Code.JOB_NOT_FOUND: "No such job",
    Code.METHOD_NOT_ALLOWED: "Method not allowed",
    Code.REQUEST_TOO_LARGE: "The request is too large",
    Code.UNSUPPORTED_MEDIA_TYPE: "Unsupported media type",
    Code.IDEMPOTENCY_MISMATCH: "The idempotency key was used for another request",
    Code.WEBHOOK_DISABLED: "This service sends no webhooks",
    Code.WEBHOOK_INVALID: "The webhook cannot be sent there",
    Code.UPLOAD_NOT_FOUND: "No such upload",
    Code.UPLOAD_CONFLICT: "The upload stands elsewhere",
    Code.UPLOAD_INCOMPLETE: "The upload is not complete",
    Code.TOO_MANY_UPLOADS: "Too many unfinished uploads",
    Code.TUS_VERSION: "Another version of tus is needed",
    Code.INTERNAL_ERROR: "Internal error",
    Code.STORE_UNAVAILABLE: "The job store is away",
    Code.DOCUMENTS_UNAVAILABLE: "The document store is away",
    Code.DOCUMENT_CHANGED: "A document changed while it was read",
    Code.DOCUMENT_MISSING: "A document is lost",
    Code.ENGINE_UNAVAILABLE: "The engine is away",
    Code.ENGINE_REJECTED: "The engine refused the request",
    Code.WINDOW_TOO_SMALL: "The model's window is too small",
    Code.DIRECT_TOO_LARGE: "The documents do not fit a single pass",
    Code.QUESTION_TOO_LONG: "The question is too long for the model",
    Code.DEADLINE_EXCEEDED: "The time limit ended before there was an answer",
    Code.ANSWER_UNUSABLE: "The model gave no usable answer",
    Code.RESUME_REFUSED: "The job was begun under another configuration",
    Code.JOB_POISONED: "The job failed repeatedly",
}
"""Short titles; a document's code without one is titled "A document cannot be read"."""


def status_of(code: str) -> int:
    """HTTP status of a code; 422 for a code that is not listed."""
    return STATUS.get(Code(code), 422) if code in set(Code) else 422


def title_of(code: str) -> str:
    """Short title of a code."""
    return TITLE.get(Code(code), DOCUMENT_TITLE) if code in set(Code) else DOCUMENT_TITLE


DOCUMENT_TITLE = "A document cannot be read"
