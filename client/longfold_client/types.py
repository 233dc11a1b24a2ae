"""The wire types of the service: what `POST /answer` takes and what every reply holds. Shared by client and server;
knows no transport.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_serializer, model_validator

Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class Wire(BaseModel):
    """Base of the replies: tolerant, so that an older client reads a newer server."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Strict(BaseModel):
    """Base of the requests: an unknown field is the caller's mistake and is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DocumentRef(Strict):
    """One document of a request: exactly one of `url`, `text` and `document_id`."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_192)] | None = None
    text: Annotated[str, StringConstraints(min_length=1)] | None = None
    document_id: Annotated[str, StringConstraints(pattern=r"^doc_[0-9a-f]{64}$")] | None = None
    """As returned by `POST /documents`."""
    title: Title | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(value is not None for value in (self.url, self.text, self.document_id)) != 1:
            raise ValueError("give exactly one of url, text and document_id")
        return self


class Mode(StrEnum):
    AUTO = "auto"
    DIRECT = "direct"
    FOLD = "fold"


class OnDocumentError(StrEnum):
    """What a document that cannot be read means for its job."""

    FAIL = "fail"
    """The job fails."""
    SKIP = "skip"
    """The others are read, and the answer's manifest lists it."""


class Limits(Strict):
    """Budgets of one job; when one is spent, the answer comes from what was read and is marked partial."""

    seconds: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] | None = None
    """Counted from when a worker first takes the job up, through every later worker; waiting in the queue before is not
    part of it."""
    tokens: Annotated[int, Field(gt=0)] | None = None
    """Prompt + completion tokens over all calls."""


class Webhook(Strict):
    """Where to send a signed message when the job has ended."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_048)]


class OriginCredentials(Strict):
    """Headers with which documents of one origin are asked for, at that origin and nowhere else."""

    origin: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
    """`https://host` or `https://host:port`."""
    headers: Annotated[dict[str, SecretStr], Field(min_length=1, max_length=8)]
    """`{"Authorization": "Bearer ..."}`, a cookie, or a header of the server's own."""

    @field_serializer("headers", when_used="json")
    def _sent(self, headers: dict[str, SecretStr]) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in headers.items()}


class AnswerRequest(Strict):
    """Body of `POST /answer`."""

    question: Question
    documents: Annotated[list[DocumentRef], Field(min_length=1, max_length=100)]
    mode: Mode = Mode.AUTO
    limits: Limits = Limits()
    on_document_error: OnDocumentError = OnDocumentError.FAIL
    """For what is found out while the job is worked on; a text or `document_id` that cannot be read is refused at
    once."""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    """Among the caller's own jobs that wait, a higher one is begun first."""
    webhook: Webhook | None = None
    credentials: Annotated[list[OriginCredentials], Field(max_length=16)] = []
    """What the documents' servers ask for. Kept until the job has ended, never shown, never logged."""


class JobStatus(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
"""Statuses that never change again."""


class Problem(Wire):
    """RFC 9457 problem details with a stable `code`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    """Stable, machine readable: `document_not_found`, `engine_unavailable`, ..."""
    instance: str | None = None
    document: int | None = None
    """Zero-based index of the request's document the problem is about."""
    errors: list[dict[str, Any]] = Field(default_factory=list)
    """Validation errors: `{loc, msg, type}`, never the input itself."""
    retry_after: float | None = None


class TokenUsage(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0


class Progress(Wire):
    """How far a job is. Totals are estimates until the last chunk is cut."""

    chunks_read: int = 0
    chunks_total: int | None = None
    tokens_read: int = 0
    """Document tokens read so far."""
    read_fraction: float = 0.0
    """Characters read / characters of all documents, 0..1; those not fetched yet are taken to be of average size."""
    plan: str = ""
    memory_tokens: int = 0
    elapsed_seconds: float = 0.0
    eta_seconds: float | None = None
    waiting: str = ""
    """What a running job waits for: `engine` while that is away or full; "" while it works."""


class Route(Wire):
    """Single pass or memory agent, and why."""

    mode: Literal["direct", "fold"]
    reason: str
    prompt_tokens: int | None = None
    """Exact size of the single pass where it was counted."""
    window: int


class Citation(Wire):
    """Where an answer's support stands. `quote == canonical_text[start:end]`, verified by string comparison."""

    document: int
    """Zero-based index of the request's document."""
    document_id: str
    title: str
    url: str | None = None
    start: int
    """Character offset in the document's canonical text."""
    end: int
    locator: str
    """For people: "p. 12", "sheet Q3 row 40", "src/a.py:10-24", "lines 3-4"."""
    link: str | None = None
    """A URL that opens at the place: `#page=12`, `#id`, a text fragment; None where there is none."""
    quote: str
    chunk: int


class SkippedPart(Wire):
    """A part of a document whose other parts were read."""

    path: str
    """"page 12", or a file's path inside an archive."""
    reason: str
    """Stable: `scanned_page`, `binary`, `encrypted`, `link`, ... (docs/documents.md)."""
    message: str


class DocumentInfo(Wire):
    """One ingested document."""

    document_id: str
    title: str
    url: str | None = None
    media_type: str
    encoding: str | None = None
    bytes: int
    """Size as received (decoded)."""
    characters: int
    """Length of the canonical text."""
    sha256: str
    """Of the canonical text in UTF-8."""
    skipped: list[SkippedPart] = Field(default_factory=list)
    """What could not be read of it; the first 20."""
    skipped_count: int = 0
    """How many there are."""


class DocumentText(Wire):
    """A part of a document's text, with what a citation of it would show."""

    document_id: str
    start: int
    """Character offset in the document's canonical text."""
    end: int
    """Smaller than asked for where the text ends."""
    text: str
    locator: str
    """For people, as in a `Citation`."""
    link: str | None = None
    """As in a `Citation`."""


class OutlineEntry(Wire):
    """Where a page, sheet, heading, file ... begins."""

    start: int
    kind: str
    """`file`, `part`, `chapter`, `line`, `page`, `slide`, `sheet`, `heading`, `row` or `record`."""
    value: str
    """A number, a name, or the heading itself."""


class DocumentPreview(Wire):
    """What a document would be to a job."""

    document: DocumentInfo
    tokens: int | None = None
    """In tokens of the served model; None where the server that was asked has no tokenizer."""
    chunks: int | None = None
    """How many chunks of `chunk_tokens` a job would read."""
    chunk_tokens: int | None = None
    estimated: bool = False
    """Whether `tokens` and `chunks` of a very long text are reckoned from its first 10 million characters."""
    marks: dict[str, int] = Field(default_factory=dict)
    """How many marks of every kind the index holds; of rows and records only those where counting begins."""
    outline: list[OutlineEntry] = Field(default_factory=list)
    """The first of them."""
    samples: list[DocumentText] = Field(default_factory=list)
    """Lines from all over the document, as they would be cited."""


class FetchRequest(Strict):
    """Body of `POST /documents/fetch`."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_192)]
    title: Title | None = None
    credentials: Annotated[list[OriginCredentials], Field(max_length=16)] = []
    """As in an `AnswerRequest`; not kept."""


class ManifestEntry(Wire):
    """What became of one document of the request."""

    document: int
    """Zero-based index of the request's document."""
    status: Literal["read", "partly_read", "not_read", "skipped"]
    """`skipped`: it could not be read; `not_read`, `partly_read`: a limit ended the reading before its end."""
    document_id: str | None = None
    title: str = ""
    url: str | None = None
    characters: int = 0
    characters_read: int = 0
    error: Problem | None = None
    """Why it was skipped."""
    skipped: list[SkippedPart] = Field(default_factory=list)
    """As in its `DocumentInfo`."""
    skipped_count: int = 0


class ModelInfo(Wire):
    """Who answered."""

    name: str
    profile: str
    notice: str = ""
    """What a user must know about this model's limits."""


class Timings(Wire):
    """Seconds."""

    queued: float = 0.0
    ingest: float = 0.0
    engine: float = 0.0
    total: float = 0.0


class AnswerResult(Wire):
    """The answer of a completed job."""

    answer: str
    citations: list[Citation] = Field(default_factory=list)
    memory: str = ""
    """The memory the answer was written from (empty for a single pass)."""
    route: Route
    model: ModelInfo
    documents: list[DocumentInfo] = Field(default_factory=list)
    """Those that were ingested, in the request's order."""
    manifest: list[ManifestEntry] = Field(default_factory=list)
    """What became of every document of the request, in its order."""
    usage: TokenUsage = TokenUsage()
    timings: Timings = Timings()
    read_fraction: float = 1.0
    partial: bool = False
    stop: str | None = None
    """Why a partial answer is partial: `deadline` or `tokens` where a limit of the request was spent, `output` where
    the answer itself reached the output limit, `invalid` where no reply of the reading could be used, so that the
    answer knows nothing of the documents."""
    invalid_steps: int = 0
    """Chunks whose reply could not be used after the retries; their content may be missing."""


class Job(Wire):
    """State of one job."""

    id: str
    status: JobStatus
    question: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Progress = Progress()
    result: AnswerResult | None = None
    error: Problem | None = None

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL


class WebhookEvent(Wire):
    """Body of a webhook: a job that has ended."""

    type: str
    """`job.completed`, `job.failed` or `job.cancelled`."""
    timestamp: datetime
    """When the job ended; the header `webhook-timestamp` is that of the attempt."""
    data: Job
    """The job without its memory and plan."""
    complete: bool = True
    """False when the result was too large to send: get the job by its id."""


class MemoryDiff(Wire):
    added: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)


class StepView(Wire):
    """One committed reading step."""

    seq: int
    """The step's event number."""
    id: str
    update: Literal["rewrite", "keep", "invalid"]
    chunk: int
    document: int
    start: int
    end: int
    tokens: int
    memory: str
    plan: str
    diff: MemoryDiff = MemoryDiff()
    reason: str = ""
    engine_seconds: float = 0.0
    at: datetime


class Steps(Wire):
    """A page of steps, oldest first."""

    job: str
    steps: list[StepView]
    next: int | None = None
    """Pass as `after` to get the next page; None on the last."""


class EventType(StrEnum):
    CREATED = "created"
    INGESTED = "ingested"
    DECOMPOSED = "decomposed"
    ROUTED = "routed"
    STEP = "step"
    DELTA = "delta"
    """A piece of the answer's text as it is written."""
    WAITING = "waiting"
    """The engine is away or full, and the job waits for it."""
    WAITED = "waited"
    """The wait is over: the job goes on, or ends for it."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RECONNECT = "reconnect"
    """The replica is draining: connect again with Last-Event-ID."""


FINAL_EVENTS = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED})


class Event(Wire):
    """One transition of a job. `seq` counts from 1 without gaps; it is the SSE id."""

    seq: int
    type: EventType
    at: datetime
    data: dict[str, Any] = Field(default_factory=dict)
    """`step`: a StepView plus `progress`; `ingested`: the `documents` that have come since the last such event, those
    `skipped` (Problems) and how many are `missing`; `routed`: a Route; `waiting`: `for` and `error`; `waited`: `for`
    and `seconds`; final ones: the Job."""
