"""Jobs in front of an engine over HTTP that restarts, hangs up or stays away: they wait, say so, and go on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing

import pytest
from tests.agent.engine_server import END, STREAM, Server, event, http, part

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_agent.errors import EngineOverloaded, EngineRejected, EngineUnavailable
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion, Message, Prompt, Sampling
from longfold_server.answering import writing
from longfold_server.calls import EngineCalls, Pulse, _sound
from longfold_server.errors import JobFailure
from longfold_server.metrics import Metrics
from longfold_server.patience import Patience
from longfold_server.resources import make_engine
from longfold_server.settings import Settings

FACTS = {1: "FACT one is red.", 4: "FACT two is blue.", 8: "FACT three is green."}
MODELS = {"data": [{"id": "m", "max_model_len": 131_072}]}
ASK = Request(Prompt("anything"), Sampling(8))


class Vllm(Server):
    """Replies to chat completions as `reader` does; hangs up in the middle of the next `breaks` streams."""

    def __init__(self, reader, latency=0.05):
        super().__init__(self._reply)
        self.reader, self.latency, self.breaks = reader, latency, 0

    async def _reply(self, seen, writer):
        if seen.path != "/v1/chat/completions":
            writer.write(http(200, MODELS))
            return
        messages = tuple(Message(message["role"], message["content"]) for message in seen.body["messages"])
        text = self.reader(Request(Prompt(messages=messages), Sampling(1)))
        await asyncio.sleep(self.latency)
        if not seen.body.get("stream"):
            writer.write(http(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))
            return
        half = {"choices": [{"delta": {"content": text[: len(text) // 2]}, "finish_reason": None}]}
        rest = {"choices": [{"delta": {"content": text[len(text) // 2 :]}, "finish_reason": "stop"}]}
        writer.write(STREAM + event(half))
        if self.breaks:
            self.breaks -= 1
            await writer.drain()
            writer.close()
            return
        writer.write(event(rest) + part(b"data: [DONE]\n\n") + END)


@pytest.fixture
async def vllm(reader):
    async with Vllm(reader) as server:
        yield server


@pytest.fixture
async def engine(vllm):
    metrics = Metrics()
    made = make_engine(Settings(engine_urls=[vllm.url]), metrics)
    made.metrics = metrics
    async with aclosing(made):
        yield made


async def steps_of(service, job):
    return (await service.client.get(f"/answer/{job}/steps", params={"limit": 200})).json()["steps"]


async def progress(service, job):
    return (await service.client.get(f"/answer/{job}")).json()["progress"]


async def test_a_job_waits_for_an_engine_that_restarts(start, vllm, engine, text_with, until):
    async with start(engine) as service:
        job = (await service.ask(text_with(12, FACTS), mode="fold"))["id"]

        async def reading():
            return (await progress(service, job))["chunks_read"] >= 3

        await until(reading)
        await vllm.stop()

        async def waiting():
            return (await progress(service, job))["waiting"] == "engine"

        await until(waiting)
        assert (await progress(service, job))["chunks_read"] >= 3
        assert engine.metrics.engine_down.labels(endpoint=f"127.0.0.1:{vllm.port}")._value.get() == 1
        await vllm.start()
        found = await service.finished(job)
        steps, events = await steps_of(service, job), await service.events(job)
    assert engine.metrics.engine_down.labels(endpoint=f"127.0.0.1:{vllm.port}")._value.get() == 0
    assert found["result"]["answer"] == "FACT three is green."
    assert [step["id"] for step in steps] == [f"read/{n}" for n in range(len(steps))]
    kinds = [kind for kind, _ in events]
    assert (kinds.count("waiting"), kinds.count("waited")) == (1, 1)
    assert kinds[kinds.index("waiting") + 1] == "waited"
    assert [int(fields["id"]) for _, fields in events] == list(range(1, len(events) + 1))
    assert found["progress"]["waiting"] == ""


async def test_a_job_goes_on_with_the_other_replica_when_one_dies(start, vllm, reader, text_with, until):
    async with (
        Vllm(reader) as other,
        aclosing(make_engine(Settings(engine_urls=[vllm.url, other.url]), Metrics())) as both,
        start(both) as service,
    ):
        job = (await service.ask(text_with(30, FACTS), mode="fold"))["id"]

        async def reading():
            return (await progress(service, job))["chunks_read"] >= 3

        await until(reading)
        reads = [sum(seen.path == "/v1/chat/completions" for seen in each.seen) for each in (vllm, other)]
        assert min(reads) <= 1  # one replica has the document; a call without one may have gone to the other
        await (vllm if reads[0] > reads[1] else other).stop()
        found = await service.finished(job)
        kinds = [kind for kind, _ in await service.events(job)]
    assert found["result"]["answer"] == "FACT three is green."
    assert "waiting" not in kinds


async def test_a_job_whose_engine_stays_away_says_so_and_fails(start, vllm, engine):
    await vllm.stop()
    async with start(engine, engine_patience_seconds=1.5) as service:
        job = (await service.ask("some text"))["id"]
        found = await service.finished(job)
        kinds = [kind for kind, _ in await service.events(job)]
    assert (found["status"], found["error"]["code"]) == ("failed", "engine_unavailable")
    assert kinds[-3:] == ["waiting", "waited", "failed"]
    assert found["progress"]["waiting"] == ""


async def test_a_deadline_ends_the_wait_of_a_read_and_the_answer_is_partial(start, vllm, engine, text_with, until):
    async with start(engine) as service:
        text = text_with(40, {0: "FACT one is red.", 39: "FACT two is blue."})
        job = (await service.ask(text, mode="fold", limits={"seconds": 4.0}))["id"]
        began = time.monotonic()

        async def reading():
            return (await progress(service, job))["chunks_read"] >= 2

        await until(reading)
        await vllm.stop()
        await asyncio.sleep(max(0.0, 4.5 - (time.monotonic() - began)))
        await vllm.start()
        found = await service.finished(job)
    assert (found["result"]["answer"], found["result"]["stop"]) == ("FACT one is red.", "deadline")


@pytest.mark.parametrize("answered", [0, 1])
async def test_a_deadline_ends_the_wait_for_the_split_and_for_a_single_pass(start, reader, answered):
    def away(request):
        return reader(request) if engine.calls <= answered else EngineUnavailable("gone")

    engine = ScriptedEngine(away)
    async with start(engine) as service:
        found = await service.finished((await service.ask("FACT one is red.", limits={"seconds": 1.0}))["id"], 10)
        kinds = [kind for kind, _ in await service.events(found["id"])]
    assert (found["status"], found["error"]["code"]) == ("failed", "deadline_exceeded")
    assert kinds.count("decomposed") == answered and found["progress"]["waiting"] == ""


async def test_a_deadline_ends_the_wait_for_the_window(start):
    class Windowless(ScriptedEngine):
        async def window(self):
            raise EngineUnavailable("gone")

    async with start(Windowless("KEEP")) as service:
        found = await service.finished((await service.ask("some text", limits={"seconds": 1.0}))["id"], 10)
    assert (found["status"], found["error"]["code"]) == ("failed", "deadline_exceeded")


async def test_a_single_pass_that_stalls_ends_with_what_was_shown(start, reader):
    class Stalling(ScriptedEngine):
        async def stream(self, request):
            async for delta in super().stream(request):
                yield delta
                await asyncio.sleep(3600)

    async with start(Stalling(reader)) as service:
        job = (await service.ask("FACT one is red.", limits={"seconds": 1.0}))["id"]
        result = (await service.finished(job, 10))["result"]
    assert (result["answer"], result["stop"], result["partial"]) == ("FACT", "deadline", True)
    asked = result["route"]["prompt_tokens"]
    split = service.engine.usage
    assert result["usage"]["prompt_tokens"] == split.prompt_tokens + asked
    assert result["usage"]["completion_tokens"] == split.completion_tokens + 1 and result["usage"]["calls"] == 2


@pytest.mark.parametrize("shown", [0, 2])
async def test_a_folds_answer_has_a_grace_beyond_the_deadline(start, reader, monkeypatch, shown):
    monkeypatch.setattr(writing, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(writing, "BATCH_SECONDS", 0.0)

    class Stalling(ScriptedEngine):
        async def stream(self, request):
            words = 0
            async for delta in super().stream(request):
                if "was kept in the memory below" in prompt_text(request.prompt) and words == shown:
                    await asyncio.sleep(3600)
                words += 1
                yield delta

    async with start(Stalling(reader)) as service:
        began = time.monotonic()
        job = (await service.ask("FACT one is red.", mode="fold", limits={"seconds": 1.0}))["id"]
        found = await service.finished(job, 10)
        assert time.monotonic() - began > 1.4
    if shown:
        assert (found["result"]["answer"], found["result"]["stop"]) == ("FACT one", "deadline")
    else:
        assert found["error"]["code"] == "deadline_exceeded"


async def test_an_answer_that_broke_off_is_written_again(start, vllm, engine, text_with):
    vllm.breaks = 2
    async with start(engine) as service:
        job = (await service.ask(text_with(6, {4: "FACT one is red."}), mode="fold"))["id"]
        found = await service.finished(job)
    assert found["result"]["answer"] == "FACT one is red."
    assert vllm.breaks == 0


async def test_the_next_worker_does_not_wait_where_the_last_one_did(start, vllm, engine, reader, until):
    await vllm.stop()
    async with start(engine) as first:
        job = (await first.ask("FACT one is red."))["id"]

        async def waiting():
            return (await progress(first, job))["waiting"] == "engine"

        await until(waiting)

    async def slow(request):
        await released.wait()
        return reader(request)

    released = asyncio.Event()
    async with start(roles=["api"]) as api:
        assert (await progress(api, job))["waiting"] == ""
    async with start(ScriptedEngine(slow)) as second:

        async def working():
            return second.engine.active == 1

        await until(working)
        assert (await progress(second, job))["waiting"] == ""
        released.set()
        found = await second.finished(job)
        events = await second.events(job)
    kinds = [kind for kind, _ in events]
    assert found["result"]["answer"] == "FACT one is red."
    assert (kinds.count("waiting"), kinds.count("waited")) == (1, 1)
    assert kinds[kinds.index("waiting") + 1] == "waited"


async def test_a_cancelled_job_does_not_wait(start, vllm, engine, until):
    await vllm.stop()
    async with start(engine) as service:
        job = (await service.ask("some text"))["id"]

        async def waiting():
            return (await progress(service, job))["waiting"] == "engine"

        await until(waiting)
        await service.client.delete(f"/answer/{job}")
        found = await service.finished(job)
    assert (found["status"], found["progress"]["waiting"]) == ("cancelled", "")


def calls(engine, patience, pulse=None):
    return EngineCalls(engine, Metrics(), patience_seconds=patience, count=lambda text: len(text.split()), pulse=pulse)


async def test_patience_begins_with_the_first_failure_not_with_the_call():
    async def slow(request):
        await asyncio.sleep(0.5)
        return EngineUnavailable("died in the middle") if engine.calls == 1 else "fine"

    engine = ScriptedEngine(slow)
    [completion] = await calls(engine, 0.4).complete([ASK])
    assert completion.text == "fine"


async def test_a_reply_that_the_engine_broke_off_costs_nothing():
    class Breaking(ScriptedEngine):
        async def stream(self, request):
            async for delta in super().stream(request):
                if self.calls == 1 and delta.completion is not None:
                    raise EngineUnavailable("hung up")
                yield delta

    async def nobody(text):
        pass

    mine = calls(Breaking("one two three"), 60)
    await mine.write(ASK, nobody, prompt_tokens=1)
    assert (mine.usage.prompt_tokens, mine.usage.completion_tokens, mine.usage.calls) == (1, 3, 1)


async def test_a_full_engine_that_serves_others_is_waited_for():
    pulse, full = Pulse(), ScriptedEngine(EngineOverloaded("queue full"))

    async def others():
        for _ in range(12):
            await calls(ScriptedEngine("fine"), 1.0, pulse).complete([ASK])
            await asyncio.sleep(0.2)

    async def patient():
        began = time.monotonic()
        with pytest.raises(JobFailure) as failed:
            await calls(full, 1.0, pulse).complete([ASK])
        assert failed.value.code == "engine_unavailable"
        return time.monotonic() - began

    alone = await patient()
    _, beside = await asyncio.gather(others(), patient())
    assert beside > alone + 1.0


async def test_an_engine_that_is_down_for_this_job_is_not_excused_by_others():
    pulse = Pulse()
    down = ScriptedEngine(EngineUnavailable("this prompt kills it"))
    failing = asyncio.create_task(calls(down, 0.3, pulse).complete([ASK]))
    while not failing.done():
        await calls(ScriptedEngine("fine"), 0.3, pulse).complete([ASK])
        await asyncio.sleep(0.05)
        assert down.calls < 10
    with pytest.raises(JobFailure):
        await failing


async def test_a_refusal_ends_a_wait_at_once():
    engine = ScriptedEngine([EngineUnavailable("gone"), EngineRejected("no such model")])
    mine = calls(engine, 60)
    with pytest.raises(EngineRejected):
        await mine.complete([ASK])
    assert not mine.away.is_set()


async def test_waits_are_shown_once_when_they_last_and_ended_once():
    shown = []
    async with Patience(60, shown.append) as patience:
        while not shown:
            await patience.rest("EngineUnavailable")
        await patience.rest("EngineTimeout")
    assert shown == ["EngineUnavailable", ""]
    async with Patience(60, shown.append) as patience:
        await patience.rest("EngineUnavailable")
    assert Counter(shown) == {"EngineUnavailable": 1, "": 1}


async def test_a_job_waits_only_when_all_its_calls_do():
    async def reply(request):
        if request.prompt.text == "a guess":
            return EngineOverloaded("queue full", 30.0)
        await released.wait()
        return "fine"

    released = asyncio.Event()
    mine = calls(ScriptedEngine(reply), 60)
    guess = asyncio.create_task(mine.complete([Request(Prompt("a guess"), Sampling(8))]))
    await asyncio.wait_for(mine.away.wait(), 10)
    read = asyncio.create_task(mine.complete([ASK]))
    await asyncio.sleep(0.05)
    assert not mine.away.is_set()
    released.set()
    await read
    assert mine.away.is_set()
    guess.cancel()
    await asyncio.wait([guess])
    assert not mine.away.is_set()


async def test_a_streamed_reply_is_made_sound_piece_by_piece(monkeypatch):
    class Long(ScriptedEngine):
        async def stream(self, request):
            for _ in range(500):
                yield Delta("\u00fc")
            yield Delta("\ud83d")
            yield Delta(completion=Completion("done", "stop"))

    made, shown = [], []
    monkeypatch.setattr("longfold_server.calls._sound", lambda text: made.append(len(text)) or _sound(text))

    async def show(text):
        shown.append(text)

    await calls(Long(), 0).write(ASK, show, prompt_tokens=1)
    assert shown[-1] == "\u00fc" * 500 + "?" and [len(text) for text in shown] == list(range(1, 502))
    assert sum(made) < 1000  # of 125,000 where the whole text is looked at for every piece
