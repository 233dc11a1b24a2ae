"""What a scrape of a running service tells."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_agent.errors import EngineUnavailable


async def scrape(service):
    """The samples of /metrics: sample("name", label="value") is a number."""
    text = (await service.client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sample(name, **labels):
        [value] = [one.value for one in samples if one.name == name and one.labels == labels]
        return value

    return sample


async def test_the_queue_is_told_by_every_replica(start):
    async with start(roles=["api"]) as first, start(roles=["api"]) as second:
        await first.ask("The FACT is here.")
        await first.ask("The FACT is here.")
        for service in (first, second):
            sample = await scrape(service)
            assert sample("longfold_jobs", status="queued") == 2 and sample("longfold_jobs", status="in_progress") == 0
            assert sample("longfold_queue_oldest_seconds") > 0 and sample("longfold_webhooks_owed") == 0
        assert (await scrape(first))("longfold_jobs_created_total") == 2
        assert (await scrape(second))("longfold_jobs_created_total") == 0


async def test_a_store_that_is_away_is_not_told_as_an_empty_queue(start, own_redis):
    async with start(roles=["api"], on=own_redis.url) as service:
        await service.ask("The FACT is here.")
        own_redis.kill()
        sample = await scrape(service)
        assert math.isnan(sample("longfold_queue_oldest_seconds")) and math.isnan(sample("longfold_webhooks_owed"))
        own_redis.start()


async def test_steps_tokens_and_calls_are_counted(start, text_with, reader):
    def replies(request):
        return "no tags at all" if "w2x1 " in prompt_text(request.prompt) else reader(request)

    engine = ScriptedEngine(replies, failures={2: EngineUnavailable("away"), 3: EngineUnavailable("away")})
    async with start(engine) as service:
        job = await service.finished((await service.ask(text_with(6, {1: "FACT one is red."}), mode="fold"))["id"])
        sample = await scrape(service)
    assert job["status"] == "completed" and job["result"]["invalid_steps"] == 1
    steps = {update: sample("longfold_steps_total", update=update) for update in ("rewrite", "keep", "invalid")}
    assert steps["rewrite"] == 1 and steps["invalid"] >= 1 and steps["keep"] >= 3
    for part in ("engine", "commit", "own"):
        assert sample("longfold_step_seconds_count", part=part) == sum(steps.values())
    usage = job["result"]["usage"]
    assert sample("longfold_tokens_total", kind="prompt") == usage["prompt_tokens"]
    assert sample("longfold_tokens_total", kind="completion") == usage["completion_tokens"]
    assert sample("longfold_engine_errors_total", error="EngineUnavailable") == 2
    whole, streamed = (sample("longfold_engine_calls_total", kind=kind) for kind in ("whole", "streamed"))
    assert streamed == 1 and whole + streamed == usage["calls"]
    assert sample("longfold_jobs_finished_total", status="completed") == 1
    assert sample("longfold_documents_total", source="text") == 1


async def test_a_job_that_is_given_up_is_counted(start):
    def broken(request):
        raise ZeroDivisionError

    async with start(ScriptedEngine(broken), max_failures=2) as service:
        job = await service.finished((await service.ask("The FACT is here."))["id"])
        sample = await scrape(service)
    assert job["error"]["code"] == "job_poisoned"
    assert sample("longfold_job_failures_total", code="job_poisoned") == 1
    assert sample("longfold_jobs_finished_total", status="failed") == 1
    assert sample("longfold_job_releases_total", reason="failure") == 2


async def test_jobs_that_end_because_their_workers_were_lost_are_counted(start, lapse):
    settings = {"max_stalled_takeovers": 1, "lease_seconds": 3600}
    async with start(roles=["api"], **settings) as api:
        held = api.app.state.resources
        deadly, unwanted = [(await api.ask("The FACT is here."))["id"] for _ in range(2)]
        for _ in range(2):
            await held.store.claim("a worker that is lost")
        await held.store.cancel(unwanted)
        for job in (deadly, unwanted):
            await lapse(held.redis, held.store.keys, job)
        async with start(**settings) as service:
            assert (await service.finished(deadly))["error"]["code"] == "job_poisoned"
            assert (await service.finished(unwanted))["status"] == "cancelled"
            sample = await scrape(service)
    assert sample("longfold_job_failures_total", code="job_poisoned") == 1
    assert sample("longfold_jobs_finished_total", status="failed") == 1
    assert sample("longfold_jobs_finished_total", status="cancelled") == 1
