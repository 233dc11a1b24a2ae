"""Lost workers, lost leases, cancels, drains, engines and stores that go away: the answer stays the same, no chunk is
applied twice."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter

import pytest

from longfold_agent import load_profile
from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_agent.errors import ContextOverflow, EngineOverloaded, EngineRejected, EngineUnavailable
from longfold_agent.provenance import Provenance
from longfold_agent.types import Completion, Usage
from longfold_server import worker
from longfold_server.answering.parts import Run
from longfold_server.ending import end
from longfold_server.errors import ConfigError
from longfold_server.ingest import DocumentStore
from longfold_server.ingest.sandbox import _Child

FACTS = {1: "FACT one is red.", 4: "FACT two is blue.", 8: "FACT three is green."}


async def steps_of(service, job):
    found, after = [], 0
    while after is not None:
        page = (await service.client.get(f"/answer/{job}/steps", params={"after": after, "limit": 7})).json()
        found += page["steps"]
        after = page["next"]
    return found


def metric(service, name):
    """The sum over all labels of one metric."""
    text = service.app.state.resources.metrics.render().decode()
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def read_at_least(service, job, chunks, until):
    async def enough():
        return (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"] >= chunks

    await until(enough)


async def kill_worker(service):
    """Ends the worker like a power cut: nothing is released, no commit follows."""
    await end(*(task for task in service.app.state.resources.tasks if task.get_name() in ("worker", "bell")))


async def test_a_killed_worker_is_replaced_and_no_chunk_is_applied_twice(start, text_with, reader, until):
    text = text_with(12, FACTS)
    async with start() as alone:
        expected = await alone.finished((await alone.ask(text, mode="fold"))["id"])
    async with start(ScriptedEngine(reader, latency=0.1), lease_seconds=0.6) as first:
        job = (await first.ask(text, mode="fold"))["id"]
        await read_at_least(first, job, 3, until)
        await kill_worker(first)
        before = first.engine.calls
        async with start(ScriptedEngine(reader), lease_seconds=0.6) as second:
            found = await second.finished(job)
            steps = await steps_of(second, job)
            assert metric(second, "longfold_job_takeovers_total") == 1
        read_again = before + second.engine.calls - expected["result"]["usage"]["calls"]
    assert found["result"]["answer"] == expected["result"]["answer"] == "FACT three is green."
    assert found["result"]["memory"] == expected["result"]["memory"]
    assert found["result"]["citations"] == expected["result"]["citations"]
    assert Counter(step["id"] for step in steps) == Counter(f"read/{n}" for n in range(len(steps)))
    assert 0 <= read_again <= 1
    assert [step["start"] for step in steps[1:]] == [step["end"] for step in steps[:-1]]
    assert steps[0]["start"] == 0 and steps[-1]["end"] == len(text)


async def test_a_worker_that_lost_its_lease_is_fenced_and_drops_its_call(start, text_with, reader, until, lapse):
    text = text_with(10, FACTS)
    async with start(ScriptedEngine(reader, latency=0.15), lease_seconds=30) as first:
        job = (await first.ask(text, mode="fold"))["id"]
        await read_at_least(first, job, 2, until)
        held = first.app.state.resources
        await lapse(held.redis, held.store.keys, job)
        async with start(ScriptedEngine(reader), lease_seconds=30) as second:
            found = await second.finished(job)
            steps = await steps_of(second, job)

        async def fenced():
            return metric(first, "longfold_commits_fenced_total") + metric(second, "longfold_commits_fenced_total") >= 1

        await until(fenced)
    assert found["result"]["answer"] == "FACT three is green."
    assert max(Counter(step["id"] for step in steps).values()) == 1


async def test_a_lost_job_is_taken_when_its_lease_ends_and_not_at_some_later_look(
    start, text_with, reader, until, monkeypatch
):
    monkeypatch.setattr(worker, "IDLE_SECONDS", 3600)
    async with start(ScriptedEngine(reader, latency=0.1), lease_seconds=1) as first:
        job = (await first.ask(text_with(60, FACTS), mode="fold"))["id"]
        await read_at_least(first, job, 2, until)
        async with start(ScriptedEngine(reader), lease_seconds=1) as second:

            async def listening():
                return second.app.state.resources.bell.heard

            await until(listening)
            await kill_worker(first)
            assert (await second.finished(job))["status"] == "completed"
            assert metric(second, "longfold_job_takeovers_total") == 1


async def test_cancel_drops_the_engine_call(start, text_with, reader, until):
    engine = ScriptedEngine(reader, latency=3600)
    async with start(engine, lease_seconds=3600) as service:
        job = (await service.ask(text_with(5, FACTS), mode="fold"))["id"]

        async def reading():
            return engine.active > 0

        await until(reading)
        reply = await service.client.delete(f"/answer/{job}")
        assert reply.status_code == 202
        assert (await service.finished(job))["status"] == "cancelled"
        assert (await service.client.delete(f"/answer/{job}")).status_code == 200
        assert (engine.active, engine.cancelled) == (0, 1)
        assert [kind for kind, _ in await service.events(job)][-1] == "cancelled"


async def test_cancel_before_the_claim_and_of_unknown_jobs(start):
    async with start(roles=["api"]) as service:
        job = (await service.ask("some text"))["id"]
        reply = await service.client.delete(f"/answer/{job}")
        assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
        assert (await service.client.delete("/answer/job_" + "0" * 32)).status_code == 404


async def test_a_draining_worker_gives_its_jobs_back(start, text_with, reader, until):
    text = text_with(10, FACTS)
    async with start(ScriptedEngine(reader, latency=0.1), lease_seconds=3600) as first:
        job = (await first.ask(text, mode="fold"))["id"]
        await read_at_least(first, job, 2, until)
    assert first.engine.active == 0
    async with start(ScriptedEngine(reader), lease_seconds=3600) as second:
        found = await second.finished(job)
        steps = await steps_of(second, job)
        assert metric(second, "longfold_job_takeovers_total") == 0
    assert found["result"]["answer"] == "FACT three is green."
    assert max(Counter(step["id"] for step in steps).values()) == 1


async def test_a_drain_with_grace_commits_the_call_in_flight(start, text_with, reader, until):
    engine = ScriptedEngine(reader, latency=0.3)
    async with start(engine, drain_seconds=20) as first:
        job = (await first.ask(text_with(10, FACTS), mode="fold"))["id"]
        await read_at_least(first, job, 1, until)
    assert engine.cancelled == 0
    async with start(ScriptedEngine(reader)) as second:
        assert (await second.finished(job))["status"] == "completed"
        steps = await steps_of(second, job)
    assert engine.calls + second.engine.calls == len(steps) + 2  # decomposition and answer


async def test_an_engine_that_comes_back_is_waited_for(start, text_with, reader):
    failures = {3: EngineUnavailable("gone"), 4: EngineOverloaded("full", 0.1), 9: EngineUnavailable("gone")}
    async with start(ScriptedEngine(reader, failures=failures)) as service:
        found = await service.finished((await service.ask(text_with(10, FACTS), mode="fold"))["id"])
        assert metric(service, "longfold_engine_errors_total") == 3
    assert found["result"]["answer"] == "FACT three is green."


async def test_an_engine_that_stays_away_fails_the_job(start):
    engine = ScriptedEngine(EngineUnavailable("connection refused"))
    async with start(engine, engine_patience_seconds=0.3) as service:
        found = await service.finished((await service.ask("some text"))["id"])
    assert found["status"] == "failed"
    assert found["error"]["code"] == "engine_unavailable" and found["error"]["status"] == 503
    assert engine.calls >= 2


async def test_a_refusal_fails_the_job_at_once(start, reader):
    engine = ScriptedEngine(reader, failures={n: EngineRejected("no such model") for n in range(2, 9)})
    async with start(engine) as service:
        found = await service.finished((await service.ask("some text"))["id"])
    assert found["error"]["code"] == "engine_rejected" and engine.calls == 2


async def test_a_bug_fails_the_job_after_three_attempts(start):
    engine = ScriptedEngine(lambda request: {}["no such key"])
    async with start(engine) as service:
        found = await service.finished((await service.ask("some text"))["id"])
    assert found["error"]["code"] == "job_poisoned" and "KeyError" in found["error"]["detail"]
    assert engine.calls == 3


async def test_parsers_that_cannot_be_shut_off_are_told_to_who_asks(start, monkeypatch):
    async def refused(*limits):
        raise ConfigError("the parser process cannot be used (no filters)")

    monkeypatch.setattr(_Child, "start", refused)
    async with start() as service:
        page = b"<html><body>FACT one is red.</body></html>"
        reply = await service.client.post("/documents", content=page, headers={"Content-Type": "text/html"})
        upload = await service.client.post("/documents", content=b"FACT one is red.")
        body = {"question": "What?", "documents": [{"url": "http://example.org/"}]}
        monkeypatch.setattr(DocumentStore, "ingest_url", lambda *args, **kwargs: refused())
        found = await service.finished((await service.client.post("/answer", json=body)).json()["id"])
    assert upload.status_code == 201
    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error") and "no filters" in reply.text
    assert found["error"]["code"] == "job_poisoned" and "no filters" in found["error"]["detail"]


async def test_a_single_pass_too_long_for_the_engine_becomes_a_fold(start, reader, text_with):
    engine = ScriptedEngine(reader, failures={2: ContextOverflow("too long", 10, 5)})
    async with start(engine) as service:
        job = (await service.ask(text_with(6, {1: "FACT one is red."})))["id"]
        found = await service.finished(job)
        kinds = [kind for kind, _ in await service.events(job)]
    assert found["result"]["answer"] == "FACT one is red."
    assert found["result"]["route"]["mode"] == "fold" and "refused" in found["result"]["route"]["reason"]
    assert kinds.count("routed") == 2


async def test_a_forced_single_pass_that_does_not_fit_fails(start, reader, text_with):
    async with start(ScriptedEngine(reader, window=2000)) as service:
        found = await service.finished((await service.ask(text_with(60, {}), mode="direct"))["id"])
    assert found["error"]["code"] == "direct_too_large"


async def test_a_forced_single_pass_that_the_engine_refuses_fails(start, reader, text_with):
    engine = ScriptedEngine(reader, failures={2: ContextOverflow("too long", 10, 5)})
    async with start(engine) as service:
        found = await service.finished((await service.ask(text_with(6, {}), mode="direct"))["id"])
        kinds = [kind for kind, _ in await service.events(found["id"])]
    assert found["error"]["code"] == "direct_too_large" and "too long" in found["error"]["detail"]
    assert kinds.count("routed") == 1 and "step" not in kinds


async def test_a_forced_single_pass_whose_time_was_over_before_it_began_fails(start, reader, monkeypatch):
    monkeypatch.setattr(Run, "late", True)
    async with start(ScriptedEngine(reader)) as service:
        ask = {"text": "FACT one is red.", "limits": {"seconds": 60}}
        forced = await service.finished((await service.ask(**ask, mode="direct"))["id"])
        chosen = await service.finished((await service.ask(**ask))["id"])
    assert forced["error"]["code"] == "deadline_exceeded"
    assert chosen["result"]["route"]["mode"] == "fold"


async def test_a_window_too_small_for_one_step_fails(start, reader, text_with):
    async with start(ScriptedEngine(reader, window=100)) as service:
        found = await service.finished((await service.ask(text_with(6, {})))["id"])
    assert found["error"]["code"] == "window_too_small"


async def test_a_question_that_alone_is_too_long_is_told_as_that(start, reader, text_with):
    async with start(ScriptedEngine(reader, window=5400)) as service:
        short = await service.finished((await service.ask(text_with(6, {}), mode="fold"))["id"])
        asked = {"question": "why and " * 400 + "why?", "mode": "fold"}
        long = await service.finished((await service.ask(text_with(6, {}), **asked))["id"])
    assert short["status"] == "completed"
    assert (long["error"]["code"], long["error"]["status"]) == ("question_too_long", 422)
    assert "the window has 5,400" in long["error"]["detail"]


async def test_the_token_limit_cuts_and_leaves_room_for_the_answer(start, text_with):
    text = text_with(30, {0: "FACT one is red.", 29: "FACT two is blue."})
    async with start() as service:
        whole = await service.finished((await service.ask(text, mode="fold"))["id"])
        needed = whole["result"]["usage"]["prompt_tokens"] + whole["result"]["usage"]["completion_tokens"]
        reserve = service.app.state.resources.worker._parts.profile.budgets.answer_output
        limit = needed // 2 + reserve
        cut = await service.finished((await service.ask(text, mode="fold", limits={"tokens": limit}))["id"])
    result = cut["result"]
    assert (result["partial"], result["stop"], result["answer"]) == (True, "tokens", "FACT one is red.")
    assert 0.2 < result["read_fraction"] < 0.9
    assert result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"] <= limit
    assert not whole["result"]["partial"] and whole["result"]["stop"] is None


@pytest.mark.parametrize("mode", ["fold", "direct"])
async def test_an_answer_is_asked_again_only_within_the_token_limit(start, profile, reader, mode):
    """The first reply is cut short and has taken all that an answer may."""
    reserve = profile.budgets.answer_output

    def short(request):
        text = prompt_text(request.prompt)
        if "Split it in two parts" in text or "You read a long text" in text:
            return reader(request)
        answers.append(request)
        if len(answers) % 2:
            return Completion("", "length", Usage(len(text.split()), reserve))
        return "red"

    answers = []
    async with start(ScriptedEngine(short)) as service:
        ask = {"text": "FACT one is red.", "mode": mode}
        roomy = await service.finished((await service.ask(**ask, limits={"tokens": 2 * reserve + 1200}))["id"])
        tight = await service.finished((await service.ask(**ask, limits={"tokens": reserve + 1200}))["id"])
    assert roomy["result"]["answer"] == "red"
    assert tight["error"]["code"] == "answer_unusable" and "limits.tokens" in tight["error"]["detail"]
    assert len(answers) == 3


async def test_what_the_split_took_counts_when_the_route_is_chosen(start, reader):
    engine = ScriptedEngine(reader)
    async with start(engine) as service:
        whole = await service.finished((await service.ask("FACT one is red."))["id"])
        assert whole["result"]["route"]["mode"] == "direct"
        used = whole["result"]["usage"]
        reserve = service.app.state.resources.worker._parts.profile.budgets.answer_output
        limit = used["prompt_tokens"] + reserve  # the split's reply is beyond it
        found = await service.finished((await service.ask("FACT one is red.", limits={"tokens": limit}))["id"])
    assert found["result"]["route"]["mode"] == "fold"


async def test_the_time_limit_drops_the_read_and_answers(start, text_with, reader):
    async def slow(request):
        text = prompt_text(request.prompt)
        if "w3x1 " in text and "You read a long text" in text:
            await asyncio.sleep(3600)
        return reader(request)

    async with start(ScriptedEngine(slow)) as service:
        job = await service.ask(text_with(10, {0: "FACT one is red."}), mode="fold", limits={"seconds": 1.0})
        found = await service.finished(job["id"])
    assert found["result"]["stop"] == "deadline" and found["result"]["partial"]
    assert found["result"]["answer"] == "FACT one is red."
    assert 0 < found["result"]["read_fraction"] < 1


async def test_unusable_replies_are_asked_again_and_counted(start, text_with, reader):
    def stubborn(request):
        text = prompt_text(request.prompt)
        return "no tags here" if "w2x1 " in text and "You read a long text" in text else reader(request)

    async with start(ScriptedEngine(stubborn)) as service:
        job = (await service.ask(text_with(6, {4: "FACT one is red."}), mode="fold"))["id"]
        found = await service.finished(job)
        steps = await steps_of(service, job)
    bad = [step for step in steps if step["update"] == "invalid"]
    assert [step["id"] for step in bad] == [f"read/{bad[0]['chunk']}", f"read/{bad[0]['chunk']}/a1"]
    assert all(step["reason"] == "no memory tag" for step in bad)
    assert found["result"]["invalid_steps"] == 1 and found["result"]["answer"] == "FACT one is red."


async def test_an_answer_of_which_nothing_could_be_read_is_partial(start, text_with, reader):
    def mute(request):
        return "no tags here" if "You read a long text" in prompt_text(request.prompt) else reader(request)

    async with start(ScriptedEngine(mute)) as service:
        found = await service.finished((await service.ask(text_with(6, FACTS), mode="fold"))["id"])
    result = found["result"]
    assert (found["status"], result["partial"], result["stop"]) == ("completed", True, "invalid")
    assert result["invalid_steps"] == found["progress"]["chunks_read"] > 1 and result["memory"] == ""


async def test_a_chunk_is_read_again_for_the_plan_it_led_to(start):
    """The demo profile's two hops, both in one chunk; calls begun on a guess run beside it."""

    def policy(request):
        prompt = prompt_text(request.prompt)
        question, _, text = prompt.partition("<chunk>")
        if prompt.endswith("<ans>"):
            return re.findall(r"<n\d+>", question)[-1]
        manager = re.search(r"<w3> of<w4> is(<c\d+>)", text)
        code = re.search(r"<w3><w4> has the<w1><w2>( ?<n\d+>)", text)
        if question.startswith("<q> What is the<w1><w2> of the<w3> of<w4>?") and manager:
            return f"<mem> <w3> of<w4>:{manager[1]}<plan> find the<w1><w2> of{manager[1]}"
        if question.startswith("<q> What is the<w1><w2> of<w3><w4>?") and code:
            return f"<mem> <w1><w2> of<w3><w4>:{code[1]}<plan> watch for changes"
        return "<keep>"

    filler = "It rained on the hills and the river rose. " * 40
    text = f"{filler}The manager of Norbel is Bernard Hale. Bernard Hale has the access code 4821. {filler}"
    async with start(ScriptedEngine(policy), with_profile=load_profile("demo")) as service:
        job = await service.ask(text, mode="fold", question="What is the access code of the manager of Norbel?")
        found = await service.finished(job["id"])
        steps = await steps_of(service, job["id"])
    hit = next(step["chunk"] for step in steps if step["update"] == "rewrite")
    chunks = steps[-1]["chunk"] + 1
    assert 0 < hit < chunks - 1
    assert [step["id"] for step in steps] == sorted(
        [f"read/{number}" for number in range(chunks)] + [f"read/{hit}/r1"], key=lambda id: int(id.split("/")[1])
    )
    assert found["result"]["answer"] == "4821"
    assert found["result"]["memory"] == "manager of Norbel: Bernard Hale\naccess code of Bernard Hale: 4821"
    assert [quoted["quote"] for quoted in found["result"]["citations"]] == ["Bernard Hale has the access code 4821."]
    assert found["progress"]["chunks_read"] == chunks and found["result"]["read_fraction"] == 1.0


async def test_comparing_long_memories_holds_up_nobody(start, text_with, monkeypatch):
    begun, answered, observe = threading.Event(), threading.Event(), Provenance.observe
    served_meanwhile = []

    def slow(self, step, chunk):
        begun.set()
        served_meanwhile.append(answered.wait(5))
        return observe(self, step, chunk)

    monkeypatch.setattr(Provenance, "observe", slow)
    async with start() as service:
        job = (await service.ask(text_with(3, {0: "FACT one is red."}), mode="fold"))["id"]
        assert await asyncio.to_thread(begun.wait, 10)
        assert (await service.client.get("/livez")).status_code == 200
        answered.set()
        assert (await service.finished(job))["status"] == "completed"
    assert all(served_meanwhile)


async def test_an_unusable_answer_fails_the_job(start, text_with, reader):
    def silent(request):
        return " " if "kept in the memory below" in prompt_text(request.prompt) else reader(request)

    async with start(ScriptedEngine(silent)) as service:
        found = await service.finished((await service.ask(text_with(4, FACTS), mode="fold"))["id"])
    assert found["error"]["code"] == "answer_unusable"


async def test_jobs_run_beside_each_other_up_to_the_concurrency(start, text_with, reader):
    engine = ScriptedEngine(reader, latency=0.05)
    async with start(engine, worker_concurrency=3) as service:
        jobs = [(await service.ask(text_with(4, {n: f"FACT {n} is it."}), mode="fold"))["id"] for n in (0, 1, 2, 3)]
        answers = [(await service.finished(job))["result"]["answer"] for job in jobs]
    assert answers == [f"FACT {n} is it." for n in (0, 1, 2, 3)]
    assert engine.peak == 3


@pytest.mark.parametrize("mode", ["fold", "direct"])
async def test_an_answer_that_reaches_the_output_limit_is_partial(start, reader, mode):
    def long(request):
        text = prompt_text(request.prompt)
        if "Split it in two parts" in text or "You read a long text" in text:
            return reader(request)
        return Completion("Clause 3: the ten", "length", Usage(9, 4))

    async with start(ScriptedEngine(long)) as service:
        found = await service.finished((await service.ask("FACT one is red.", mode=mode))["id"])
    result = found["result"]
    assert (result["answer"], result["partial"], result["stop"]) == ("Clause 3: the ten", True, "output")


async def test_the_deltas_make_the_answer(start, text_with, reader):
    def wordy(request):
        if "kept in the memory below" in prompt_text(request.prompt):
            return " ".join(f"word{n}" for n in range(60))
        return reader(request)

    engine = ScriptedEngine(wordy, latency=0.6)
    async with start(engine) as service:
        job = (await service.ask(text_with(1, {0: "FACT one is red."}), mode="fold"))["id"]
        found = await service.finished(job)
        events = await service.events(job)
    shown, deltas = "", [json.loads(fields["data"])["data"] for kind, fields in events if kind == "delta"]
    for delta in deltas:
        assert delta["offset"] <= len(shown)
        shown = shown[: delta["offset"]] + delta["text"]
    assert shown == found["result"]["answer"] and 2 <= len(deltas) <= 30


async def test_an_answer_begun_again_replaces_what_was_shown(start, text_with, reader):
    calls = 0

    def failing(request):
        nonlocal calls
        if "kept in the memory below" in prompt_text(request.prompt):
            calls += 1
            return Completion("a b c <think>", "stop") if calls == 1 else "a b d"
        return reader(request)

    async with start(ScriptedEngine(failing, latency=0.4)) as service:
        job = (await service.ask(text_with(1, {0: "FACT one is red."}), mode="fold"))["id"]
        found = await service.finished(job)
        events = await service.events(job)
    shown = ""
    for kind, fields in events:
        if kind == "delta":
            delta = json.loads(fields["data"])["data"]
            shown = shown[: delta["offset"]] + delta["text"]
    assert shown == found["result"]["answer"]


async def test_a_redis_that_restarts_interrupts_nothing(start, own_redis, text_with, reader, until):
    engine = ScriptedEngine(reader, latency=0.1)
    async with start(engine, on=own_redis.url, lease_seconds=30) as service:
        job = (await service.ask(text_with(12, FACTS), mode="fold"))["id"]
        await read_at_least(service, job, 2, until)
        await asyncio.sleep(1.2)  # appendfsync everysec
        own_redis.kill()
        reply = await service.client.get(f"/answer/{job}")
        assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
        assert (await service.client.get("/livez")).status_code == 200
        assert (await service.client.get("/readyz")).status_code == 503
        assert (await service.client.get("/metrics")).status_code == 200
        own_redis.start()

        async def back():
            return (await service.client.get(f"/answer/{job}")).status_code == 200

        await until(back)
        found = await service.finished(job)
        steps = await steps_of(service, job)
    assert found["result"]["answer"] == "FACT three is green."
    assert max(Counter(step["id"] for step in steps).values()) == 1


async def test_a_job_that_cannot_be_read_costs_itself_only(start, redis, lapse):
    """What another version has written, say."""
    async with start(roles=["api"]) as api:
        bad = (await api.ask("some text", priority=9))["id"]
        keys = api.app.state.resources.store.keys
        await redis.hset(keys.job(bad), "request", "{}")
        async with start(max_stalled_takeovers=2) as service:
            good = await service.ask("FACT 1 is here.")
            assert (await service.finished(good["id"]))["status"] == "completed"
            found = await service.finished(bad)
    assert (found["status"], found["error"]["code"]) == ("failed", "job_poisoned")
