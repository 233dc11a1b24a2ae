"""Jobs from the request to the answer, through HTTP, a real Redis and a reader without a model."""

from __future__ import annotations

from longfold_agent.engines.scripted import ScriptedEngine


async def test_fold_answers_with_citation_and_whole_result(start, text_with):
    text = text_with(12, {3: "FACT one is red.", 9: "FACT two is blue."})
    async with start() as service:
        job = await service.finished((await service.ask(text, mode="fold"))["id"])
    assert job["status"] == "completed", job
    result = job["result"]
    assert result["answer"] == "FACT two is blue."
    assert result["memory"] == "FACT one is red.\nFACT two is blue."
    assert result["route"]["mode"] == "fold"
    assert result["read_fraction"] == 1.0 and not result["partial"]
    [citation] = result["citations"]
    assert text[citation["start"] : citation["end"]] == citation["quote"] and "blue" in citation["quote"]
    line = text[: citation["start"]].count("\n") + 1
    assert (citation["locator"], citation["link"]) == (f"line {line}", None)
    [entry] = result["manifest"]
    assert (entry["status"], entry["characters_read"], entry["error"]) == ("read", len(text), None)
    assert result["usage"]["calls"] >= 14 and result["usage"]["prompt_tokens"] > 0
    assert job["progress"]["chunks_read"] == job["progress"]["chunks_total"]
    assert result["documents"][0]["characters"] == len(text)


async def test_small_documents_take_the_single_pass(start):
    async with start() as service:
        job = await service.finished((await service.ask("The sky has FACT of blue. Nothing else."))["id"])
    assert job["result"]["answer"] == "The sky has FACT of blue."
    assert job["result"]["route"]["mode"] == "direct"
    assert job["result"]["memory"] == ""
    assert job["result"]["citations"][0]["quote"] == "The sky has FACT of blue."


async def test_a_single_pass_that_said_nothing_is_asked_otherwise(start):
    engine = ScriptedEngine(["", "", "It is blue."])  # the first is to split the question
    async with start(engine) as service:
        job = await service.finished((await service.ask("The sky is blue.", mode="direct"))["id"])
    assert job["result"]["answer"] == "It is blue."
    first, second = engine.requests[-2:]
    assert first.prompt == second.prompt and first.sampling != second.sampling


async def test_events_are_gapless_and_end(start, text_with):
    async with start() as service:
        job = (await service.ask(text_with(6, {2: "FACT is here."}), mode="fold"))["id"]
        events = await service.events(job)
        kinds = [kind for kind, _ in events]
        assert [int(fields["id"]) for _, fields in events] == list(range(1, len(events) + 1))
        assert kinds[:4] == ["created", "ingested", "decomposed", "routed"]
        assert kinds.count("step") >= 6 and kinds[-1] == "completed" and "delta" in kinds
        assert await service.events(job, after=len(events)) == []
        assert [kind for kind, _ in await service.events(job, after=4)] == kinds[4:]


async def test_a_failing_document_ends_the_job(start):
    async with start() as service:
        reply = await service.client.post(
            "/answer", json={"question": "q", "documents": [{"url": "http://127.0.0.1:1/x"}]}
        )
        job = await service.finished(reply.json()["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"].startswith("document_") and job["error"]["document"] == 0
    assert job["result"] is None
