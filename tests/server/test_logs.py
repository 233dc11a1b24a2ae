"""Logs are JSON lines that tell what happened and never what was said."""

from __future__ import annotations

import json
import logging

from longfold_server.logs import JSONFormatter


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
