"""What a webhook says."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from longfold_client.types import AnswerResult, Job, JobStatus, ModelInfo, Progress, Route, WebhookEvent
from longfold_server.webhooks.event import LARGEST, body_of, message_id

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def job(answer: str = "in 1871", **fields: object) -> Job:
    result = AnswerResult(
        answer=answer,
        memory="everything that was kept",
        route=Route(mode="fold", reason="long", window=100),
        model=ModelInfo(name="m", profile="demo"),
    )
    values = {
        "id": "job_" + "a" * 32,
        "status": JobStatus.COMPLETED,
        "question": "When?",
        "created_at": AT,
        "finished_at": AT,
        "progress": Progress(chunks_read=7, plan="look for the year"),
        "result": result,
    }
    return Job.model_validate(values | fields)


def test_the_job_without_its_memory_and_plan() -> None:
    told = json.loads(body_of(job()))
    assert told["type"] == "job.completed" and told["complete"] is True
    assert told["timestamp"] == "2026-01-02T03:04:05Z"
    assert told["data"]["result"]["answer"] == "in 1871" and told["data"]["progress"]["chunks_read"] == 7
    assert "everything that was kept" not in str(told) and "look for the year" not in str(told)


def test_a_result_too_large_to_send_is_left_out_whole() -> None:
    largest = LARGEST - len(body_of(job("")))
    assert WebhookEvent.model_validate_json(body_of(job("x" * largest))).complete
    event = WebhookEvent.model_validate_json(body_of(job("x" * (largest + 1))))
    assert not event.complete and event.data.result is None and event.data.status is JobStatus.COMPLETED


def test_only_a_job_that_has_ended_is_told() -> None:
    with pytest.raises(ValueError, match="finished"):
        body_of(job(status=JobStatus.IN_PROGRESS, finished_at=None))


def test_the_id_is_the_jobs_and_holds_no_full_stop() -> None:
    assert message_id(job().id) == "msg_" + "a" * 32
