"""The server's exceptions.

ServerError
├── ConfigError            the service cannot start with these settings
├── StoreUnavailable       Redis cannot be reached or refuses writes; try again
├── DocumentsUnavailable   the documents' bucket cannot be reached or refuses, or the disk is full; try again
├── LeaseLost              another worker owns the job: whatever was computed must be dropped
├── JobCancelled           the job was cancelled while it was worked on
├── Interrupted            the worker is stopping: the job goes back to the queue
├── OutOfTime              the time for a wait is over; what follows from that is the waiter's to say
├── JobNotFound            no such job, or its retention has ended
├── KeyNotFound            no API key with this id
├── TooManyJobs            the tenant has as many unfinished jobs as it may
├── IdempotencyMismatch    the idempotency key was used for another body
└── CodedError             carries a stable code for the caller
    ├── JobFailure         a job ends as failed; retrying cannot help
    ├── Refused            a request is refused
    └── DocumentError      a document cannot be fetched, read or found
"""

from __future__ import annotations


class ServerError(Exception):
    """Root of every exception the server raises on purpose."""


class ConfigError(ServerError, ValueError):
    """The service cannot start with these settings; the message is one sentence for the operator."""


class StoreUnavailable(ServerError, ConnectionError):
    """Redis cannot be reached or refuses writes."""


class DocumentsUnavailable(ServerError, ConnectionError):
    """The documents' bucket cannot be reached or refuses, or the disk is full."""


class LeaseLost(ServerError):
    """The claim token or the generation is not ours any more."""


class JobCancelled(ServerError):
    """The job's cancel flag is set."""


class Interrupted(ServerError):
    """The worker is stopping; what is committed stays, the rest is done by another."""


class OutOfTime(ServerError):
    """A wait has come to the end of its time."""


class JobNotFound(ServerError, LookupError):
    """No such job."""

    def __init__(self, job: str) -> None:
        super().__init__(f"there is no job {job}")
        self.job = job


class KeyNotFound(ServerError, LookupError):
    """No API key with this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id}")
        self.key_id = key_id


class TooManyJobs(ServerError):
    """The tenant has as many unfinished jobs as it may."""


class IdempotencyMismatch(ServerError):
    """Same idempotency key, other body."""


class CodedError(ServerError):
    """An error with a stable code for the caller."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class JobFailure(CodedError):
    """The job cannot be answered; it ends as failed with this code."""


class Refused(CodedError):
    """The request cannot be accepted."""


class DocumentError(CodedError):
    """A document cannot be fetched, read or found. `document_index` counts from 0 within the request."""

    def __init__(self, code: str, detail: str, document_index: int | None = None) -> None:
        super().__init__(code, detail)
        self.document_index = document_index
