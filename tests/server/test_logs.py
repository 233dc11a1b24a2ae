"""Logs are JSON lines that tell what happened and never what was said."""

from __future__ import annotations

import io
import json
import logging

import pytest

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_server.logs import JSONFormatter, configure


def record(message, exc_info=None, **extra):
    made = logging.LogRecord("longfold", logging.INFO, "f.py", 1, message, (), exc_info)
    vars(made).update(extra)
    return json.loads(JSONFormatter().format(made))


def test_fields_are_told():
    line = record("job_claimed", job="job_1", seconds=0.5)
    assert (line["event"], line["job"], line["seconds"], line["level"]) == ("job_claimed", "job_1", 0.5, "info")


def test_an_exception_is_told_without_its_text():
    try:
        raise ValueError("what the user asked")
    except ValueError as error:
        line = record("broke", exc_info=(type(error), error, error.__traceback__))
    assert line["error"] == "ValueError" and line["trace"]
    assert "what the user asked" not in json.dumps(line)


async def test_a_job_leaves_no_text_in_the_logs(start, text_with, caplog):
    caplog.set_level(logging.DEBUG, logger="longfold_server")
    async with start() as service:
        job = (await service.ask(text_with(4, {1: "FACT marker-text is it."}), mode="fold"))["id"]
        await service.finished(job)
    told = "\n".join(JSONFormatter().format(one) for one in caplog.records if one.name.startswith("longfold"))
    assert job in told and "job_completed" in told
    assert "marker-text" not in told and "What is the last fact" not in told


def library_record(name, message):
    return json.loads(JSONFormatter().format(logging.LogRecord(name, logging.ERROR, "f.py", 1, message, (), None)))


def test_of_a_librarys_message_only_what_is_harmless_is_told():
    lost = "Task exception was never retrieved\nfuture: <Task exception=ValueError('what the user asked')>"
    assert library_record("asyncio", lost)["event"] == "Task exception was never retrieved"
    told = library_record("x", 'GET "https://me:word@example.com/a?token=t#f" 200')["event"]
    assert told == 'GET "https://example.com/a?..." 200'
    assert library_record("x", "header Authorization: Bearer abc.def")["event"] == "header Authorization: Bearer ..."
    assert library_record("x", "key lf_1234_abcdefgh9 was used")["event"] == "key lf_... was used"


def test_of_a_librarys_record_further_fields_are_not_told():
    made = logging.LogRecord("urllib3", logging.INFO, "f.py", 1, "sent", (), None)
    made.body = "what the user asked"
    assert set(json.loads(JSONFormatter().format(made))) == {"time", "level", "logger", "event"}


@pytest.fixture
def logged():
    """What a process that is configured as in service writes, at the level debug."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


async def test_nothing_that_was_sent_is_in_the_logs(start, text_with, logged, reader):
    key = "lf_key_0123456789abcdefghij"

    def replies(request):
        if "marker-broken" in prompt_text(request.prompt):
            raise ValueError("marker-bug")
        return reader(request)

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    options = {"webhook_secrets": [secret], "webhook_allow_http": True, "max_failures": 1, "api_keys": [key]}
    async with start(ScriptedEngine(replies), **options) as service:
        service.client.headers["Authorization"] = f"Bearer {key}"
        hook = {"url": "http://127.0.0.1:9/hook?marker-hook"}
        good = await service.ask(text_with(4, {1: "FACT marker-text is it."}), mode="fold", webhook=hook)
        broken = await service.ask("marker-broken FACT.", question="marker-question?")
        url = "http://127.0.0.1:9/page?marker-query=1#marker-fragment"
        away = await service.client.post("/answer", json={"question": "marker-question", "documents": [{"url": url}]})
        for job, status in ((good, "completed"), (broken, "failed"), (away.json(), "failed")):
            assert (await service.finished(job["id"]))["status"] == status
        assert (await service.client.post("/answer", json={"marker-field": "marker-value"})).status_code == 422
        assert (await service.client.post("/answer", content=b"marker-json")).status_code in (400, 415)
        assert (await service.client.get("/answer/marker-job?marker-query")).status_code == 404
        wrong = {"Authorization": "Bearer lf_wrong_0123456789abcdef"}
        assert (await service.client.get("/livez", headers=wrong)).status_code == 200
        assert (await service.client.get(f"/answer/{good['id']}", headers=wrong)).status_code == 401
    told = logged.getvalue()
    lines = [json.loads(line) for line in told.splitlines()]
    assert "marker" not in told and "What is the last fact" not in told
    assert key not in told and "lf_wrong" not in told and secret not in told
    for event in ("job_completed", "job_poisoned", "job_failed", "request"):
        assert any(line["event"] == event for line in lines), event
    about_jobs = [line for line in lines if line["event"].startswith(("job_", "commit_", "engine_away", "webhook_"))]
    assert {good["id"], broken["id"], away.json()["id"]} == {line["job"] for line in about_jobs}
