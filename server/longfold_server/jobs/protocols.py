"""The seam between jobs and those who make, read and work on them: what `JobStore` and `MemoryStore` both do."""

from __future__ import annotations

from typing import Protocol

from longfold_client.types import Job, JobStatus
from longfold_server.jobs.keys import Keys
from longfold_server.jobs.records import Claim, Ended, Idle, Lease, QueueStats, RawEvent, StoredRequest


class Committing(Protocol):
    """One commit with its own id: `send` may be repeated after `StoreUnavailable`, it is applied once."""

    async def send(self) -> int:
        """The event's number. Raises `LeaseLost`, `JobCancelled`, `StoreUnavailable`."""


class Store(Protocol):
    """Jobs. Every method raises `StoreUnavailable` when the store is away. `tenant=None` asks for no tenant; otherwise
    another one's job is `JobNotFound`."""

    @property
    def keys(self) -> Keys: ...

    @property
    def lease_seconds(self) -> float: ...

    async def create(
        self,
        job: str,
        body: str,
        request: StoredRequest,
        *,
        tenant: str = "",
        priority: int = 0,
        tenant_jobs: int | None = None,
    ) -> bool:
        """True when the job was made, False when the same body made it before. Of one tenant's jobs those with the
        higher `priority` (0 to 9) are worked on first. Raises `IdempotencyMismatch`, and `TooManyJobs` when the tenant
        has `tenant_jobs` unfinished ones."""

    async def get(self, job: str, *, tenant: str | None = None) -> Job:
        """Raises `JobNotFound`."""

    async def status(self, job: str, *, tenant: str | None = None) -> JobStatus:
        """Only the status. Raises `JobNotFound`."""

    async def claim(self, worker: str) -> Claim | Ended | Idle:
        """A job whose lease ran out, else the next tenant's first; `Ended` when that had to end instead, once."""

    async def beat(self, lease: Lease) -> None:
        """The lease lasts from now again. Raises `LeaseLost`, `JobCancelled`."""

    async def commit(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> int:
        """Fields of the job and one event together; the event's number. Raises `LeaseLost`, `JobCancelled`.

        A commit with fields turns the generation; one without (a piece of the answer) only adds its event. What may
        have to be sent again is `prepare`d.
        """

    def prepare(self, lease: Lease, kind: str, data: object, fields: dict[str, str] | None = None) -> Committing:
        """A commit that may be sent until it is answered and is applied once."""

    async def finish(
        self,
        lease: Lease,
        status: JobStatus,
        field: str = "",
        value: str = "",
        *,
        progress: str = "",
        fenced: bool = True,
    ) -> None:
        """Completed (field `result`), failed (field `error`) or cancelled. May be repeated. Raises `LeaseLost`,
        `JobCancelled`.

        `fenced` also asks for the generation; a failure or cancellation is true whatever was committed last.
        """

    async def release(self, lease: Lease, failure: str | None = None, *, pause_seconds: float = 0.0) -> str:
        """Gives the job back, after a pause if one is given; a `failure` is counted, and ends the job when it was one
        too many. May be repeated.

        Returns `released`, `lost`, or the status with which the job has ended.
        """

    async def cancel(self, job: str, *, tenant: str | None = None) -> JobStatus:
        """At once for a job that waits; a worker is told otherwise. The status afterwards. Raises `JobNotFound`."""

    async def events(self, job: str, after: int, count: int, *, tenant: str | None = None) -> list[RawEvent]:
        """Up to `count` events behind number `after`, in order. Raises `JobNotFound` when a tenant is given."""

    async def event(self, job: str, seq: int, *, tenant: str | None = None) -> RawEvent | None:
        """One event by its number. Raises `JobNotFound` when a tenant is given."""

    async def webhook(self, job: str) -> tuple[str, str]:
        """Where to tell of the job's end, and the job's tenant. Raises `JobNotFound`."""

    async def due_webhook(self, lease_seconds: float) -> tuple[str, int] | None:
        """A job that has ended and of which somebody has to be told now, and how often that was tried before; nobody
        else gets it for `lease_seconds`. None when there is none."""

    async def webhook_sent(self, job: str) -> None:
        """It was told, or there is nothing to tell any more."""

    async def webhook_failed(self, job: str, attempt: int, retry_seconds: float | None) -> None:
        """The attempt with this number failed; None gives up."""

    async def webhook_postponed(self, job: str, attempt: int, seconds: float) -> None:
        """The attempt with this number was not made and does not count; it is due again in `seconds`."""

    async def stats(self) -> QueueStats:
        """The queue now."""

    async def ping(self) -> None:
        """Raises `StoreUnavailable`."""
