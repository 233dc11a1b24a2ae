"""The body of a webhook: the job as it ended. Knows no delivery."""

from __future__ import annotations

from longfold_client.types import Job, WebhookEvent

LARGEST = 90_000
"""Bytes of a body with its result: web frameworks commonly refuse JSON over 100 kB."""


def message_id(job: str) -> str:
    """The `webhook-id`: one job ends once, so every attempt carries the same."""
    return f"msg_{job.removeprefix('job_')}"


def body_of(job: Job) -> bytes:
    """The event of a finished job.

    The memory and the plan, which are long and of use to few, are left out; so is the whole result of a job whose event
    would be larger than receivers take, and `complete` is then false: `GET /answer/{id}` has everything.
    """
    if job.finished_at is None:
        raise ValueError("only a finished job has an event")
    result = None if job.result is None else job.result.model_copy(update={"memory": ""})
    shown = job.model_copy(update={"result": result, "progress": job.progress.model_copy(update={"plan": ""})})
    event = WebhookEvent(type=f"job.{job.status.value}", timestamp=job.finished_at, data=shown)
    body = event.model_dump_json(exclude_none=True).encode()
    if len(body) <= LARGEST or result is None:
        return body
    event = event.model_copy(update={"complete": False, "data": shown.model_copy(update={"result": None})})
    return event.model_dump_json(exclude_none=True).encode()
