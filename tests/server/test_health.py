"""Probes and metrics."""

from __future__ import annotations

import random

import pytest

from longfold_agent.engines.scripted import ScriptedEngine
from longfold_agent.engines.vllm import VLLMEngine
from longfold_agent.errors import EngineUnavailable
from longfold_server.ending import end
from longfold_server.ingest import DocumentStore
from longfold_server.jobs.bell import Bell


async def test_ready_and_alive(start):
    async with start() as service:
        assert (await service.client.get("/livez")).json() == {"status": "ok"}
        reply = await service.client.get("/readyz")
        assert reply.status_code == 200
        loops = {"bell": "ok", "expiry": "ok", "worker": "ok"}
        assert reply.json()["checks"] == {"draining": "no", "store": "ok", "engine": "ok", **loops}


async def test_probes_without_a_body(start):
    async with start() as service:
        for path in ("/livez", "/readyz"):
            asked, whole = await service.client.head(path), await service.client.get(path)
            assert asked.status_code == 200 and asked.content == b""
            assert asked.headers["content-length"] == str(len(whole.content))
        service.app.state.drain.begin()
        assert [(await service.client.head(path)).status_code for path in ("/livez", "/readyz")] == [200, 503]
        schema = (await service.client.get("/openapi.json")).json()
        assert set(schema["paths"]["/readyz"]) == {"get"}


async def test_not_ready_without_the_engine_and_while_draining(start, monkeypatch):
    engine = ScriptedEngine()

    async def away():
        raise EngineUnavailable("connection refused at 10.0.0.1")

    async with start(engine) as service:
        monkeypatch.setattr(engine, "window", away)
        reply = await service.client.get("/readyz")
        assert reply.status_code == 503 and reply.json()["checks"]["engine"] == "unavailable: EngineUnavailable"
        monkeypatch.undo()
        service.app.state.drain.begin()
        reply = await service.client.get("/readyz")
        assert reply.status_code == 503 and reply.json()["checks"]["draining"] == "yes"
        assert (await service.client.get("/livez")).status_code == 200


async def test_not_ready_when_the_engine_has_stopped(start, monkeypatch):
    engine = VLLMEngine("http://127.0.0.1:9", model="m")
    monkeypatch.setattr(engine, "_models", {"http://127.0.0.1:9": {"m": 2048}})
    async with start(engine) as service:
        reply = await service.client.get("/readyz")
        assert reply.status_code == 503 and reply.json()["checks"]["engine"] == "unavailable: EngineUnavailable"


@pytest.mark.parametrize(
    ("name", "owner", "step"), [("bell", Bell, "_hear"), ("expiry", DocumentStore, "forget_notes")]
)
async def test_a_loop_that_breaks_says_why_and_goes_on(start, until, monkeypatch, caplog, name, owner, step):
    whole, calls = getattr(owner, step), []

    def broken_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise TypeError("not foreseen")
        return whole(*args)

    async def called_again():
        return len(calls) > 1

    monkeypatch.setattr(owner, step, broken_once)
    monkeypatch.setattr(random, "uniform", lambda low, high: low)  # the first look is due at once
    async with start() as service:
        await until(called_again)
        [told] = [record for record in caplog.records if record.message == "task_broke"]
        assert told.task == name and "not foreseen" in str(told.exc_info[1])
        assert (await service.client.get("/readyz")).json()["checks"][name] == "ok"


@pytest.mark.parametrize("name", ["bell", "expiry"])
async def test_not_ready_without_a_loop(start, name):
    async with start() as service:
        await end(*(task for task in service.app.state.resources.tasks if task.get_name() == name))
        reply = await service.client.get("/readyz")
        assert reply.status_code == 503 and reply.json()["checks"][name] == "ended"


async def test_a_worker_without_the_api_has_probes_only(start):
    async with start(roles=["worker"]) as service:
        assert (await service.client.get("/readyz")).status_code == 200
        assert (await service.client.post("/answer", json={})).status_code == 404


async def test_metrics_count_and_hold_no_ids(start, text_with):
    async with start() as service, start(roles=["api"]) as other:
        job = (await service.ask(text_with(5, {2: "FACT one is red."}), mode="fold"))["id"]
        await service.finished(job)
        text = (await service.client.get("/metrics")).text
        assert 'longfold_jobs_finished_total{status="completed"} 1.0' in text
        assert 'longfold_steps_total{update="rewrite"} 1.0' in text
        assert 'longfold_step_seconds_count{part="commit"}' in text and 'longfold_tokens_total{kind="prompt"}' in text
        assert 'longfold_jobs{status="queued"} 0.0' in text
        assert 'route="/answer/{job}"' in text and job not in text
        assert 'longfold_jobs_finished_total{status="completed"} 0.0' in (await other.client.get("/metrics")).text
