"""Probes and metrics."""

from __future__ import annotations

from longfold_agent.engines.scripted import ScriptedEngine
from longfold_agent.errors import EngineUnavailable


async def test_ready_and_alive(start):
    async with start() as service:
        assert (await service.client.get("/livez")).json() == {"status": "ok"}
        reply = await service.client.get("/readyz")
        assert reply.status_code == 200
        assert reply.json()["checks"] == {"draining": "no", "store": "ok", "engine": "ok", "worker": "ok"}


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
