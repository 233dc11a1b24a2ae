"""What is stored of a job: the request, a worker's claim, raw events; and the wire's Job made from the hash. Knows no
Redis commands."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from longfold_client.types import (
    AnswerRequest,
    AnswerResult,
    Job,
    JobStatus,
    Limits,
    Mode,
    OnDocumentError,
    Problem,
    Progress,
)

JOB_ID = re.compile(r"job_[0-9a-f]{32}")


def moment(milliseconds: str | int) -> datetime:
    """A point in time from milliseconds since 1970."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def compact(value: object) -> str:
    """ASCII JSON without spaces, so that any text survives any store."""
    return json.dumps(value, separators=(",", ":"))


def new_job_id(idempotency_key: str | None = None, scope: str = "") -> str:
    """A random id; or, for an idempotency key, the id that this key always gives within its scope.

    Since the key decides the id, the script that makes the job also finds its twin, within one hash slot.
    """
    if idempotency_key is None:
        return f"job_{secrets.token_hex(16)}"
    digest = hashlib.sha256(f"{len(scope)}:{scope}:{idempotency_key}".encode()).hexdigest()
    return f"job_{digest[:32]}"


def body_hash(request: AnswerRequest) -> str:
    """SHA-256 of what was asked; independent of the order and spacing of the JSON, and of credentials, which may be
    new ones when a request is repeated."""
    asked = request.model_dump(mode="json", exclude={"credentials"})
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Source:
    """One document of a request as it is stored: a URL or the id of an ingested document, never text."""

    url: str | None = None
    document_id: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request without its texts."""

    question: str
    sources: tuple[Source, ...]
    mode: Mode = Mode.AUTO
    limits: Limits = field(default_factory=Limits)
    on_document_error: OnDocumentError = OnDocumentError.FAIL
    webhook: str = ""
    """URL to tell of the job's end; "" for none."""
    trace: str = ""
    """The `traceparent` on which the job's spans hang, over all its workers."""
    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Headers by origin; stored beside the rest and only until the job has ended."""

    def to_json(self) -> str:
        sources = [
            {"url": source.url, "document_id": source.document_id, "title": source.title} for source in self.sources
        ]
        limits = self.limits.model_dump(mode="json")
        kept = {"sources": sources, "mode": self.mode, "limits": limits, "webhook": self.webhook, "trace": self.trace}
        return compact(kept | {"on_document_error": self.on_document_error})

    @classmethod
    def from_json(cls, question: str, saved: str) -> StoredRequest:
        values = json.loads(saved)
        return cls(
            question=question,
            sources=tuple(Source(**source) for source in values["sources"]),
            mode=Mode(values["mode"]),
            limits=Limits.model_validate(values["limits"]),
            on_document_error=OnDocumentError(values.get("on_document_error", OnDocumentError.FAIL)),
            webhook=values.get("webhook", ""),
            trace=values.get("trace", ""),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to work on a job, and everything it needs to continue it."""

    job: str
    token: str
    gen: int
    """Generation: number of state changes committed so far."""
    seq: int
    """Number of the last event."""
    request: StoredRequest
    setup: str | None
    """What is fixed before reading: documents, query, route; None before the first commit."""
    state: str | None
    """The last committed state of the reading; None before the first step."""
    progress: str | None
    """What was told last of how far the job is."""
    queued_seconds: float
    """From creation to the first claim."""
    age_seconds: float
    """From the first claim to this one."""
    takeover: bool
    """The worker before was lost."""
    tenant: str
    """Whose job it is; "" when the service runs without keys."""
    place: str
    """Where the job stands in the queue."""

    @classmethod
    def from_hash(cls, job: str, now_ms: int, takeover: bool, values: dict[str, str]) -> Claim:
        started, created = int(values["started"]), int(values["created"])
        return cls(
            job=job,
            token=values["token"],
            gen=int(values["gen"]),
            seq=int(values["seq"]),
            request=replace(
                StoredRequest.from_json(values["question"], values["request"]),
                credentials=json.loads(values.get("credentials", "{}")),
            ),
            setup=values.get("setup"),
            state=values.get("state"),
            progress=values.get("progress"),
            queued_seconds=(started - created) / 1000,
            age_seconds=(now_ms - started) / 1000,
            takeover=takeover,
            tenant=values["tenant"],
            place=values["place"],
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that nobody may work on any more: the look that would have claimed it has ended it instead."""

    job: str
    status: JobStatus
    """Cancelled while its worker was lost, or failed because it has lost too many workers."""


@dataclass(frozen=True, slots=True)
class Idle:
    """There is nothing to claim now."""

    seconds: float
    """Until a lease or a pause ends, the next moment at which there may be; infinite when none does."""


class Lease:
    """A claim that lives: what the next commit must expect. Belongs to one worker task."""

    def __init__(self, claim: Claim) -> None:
        self.job = claim.job
        self.token = claim.token
        self.place = claim.place
        self.gen = claim.gen
        self.seq = claim.seq


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as it is stored: step events without the memory they repeat, final ones without the job."""

    seq: int
    kind: str
    at: datetime
    data: dict[str, Any]

    @classmethod
    def from_entry(cls, entry: tuple[str, dict[str, str]]) -> RawEvent:
        name, fields = entry
        return cls(int(name.partition("-")[0]), fields["t"], moment(fields["at"]), json.loads(fields["d"]))


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The queue at one moment."""

    ready: int
    """Jobs that wait, those that pause after a failure among them."""
    leased: int
    oldest_seconds: float
    """How long the job that waits longest has waited since it was made or given back; 0 when none does."""
    webhooks: int
    """Ends of jobs of which somebody has still to be told."""


def job_from_hash(job: str, values: dict[str, str]) -> Job:
    """The wire's view of a job's hash."""
    status = JobStatus(values["status"])
    progress = Progress.model_validate_json(values["progress"]) if values.get("progress") else Progress()
    if status is not JobStatus.IN_PROGRESS:
        progress = progress.model_copy(update={"waiting": ""})
    return Job(
        id=job,
        status=status,
        question=values["question"],
        created_at=moment(values["created"]),
        started_at=moment(values["started"]) if "started" in values else None,
        finished_at=moment(values["finished"]) if "finished" in values else None,
        progress=progress,
        result=AnswerResult.model_validate_json(values["result"]) if "result" in values else None,
        error=Problem.model_validate_json(values["error"]) if "error" in values else None,
    )
