"""The public fake engine follows its script and can be observed."""

from __future__ import annotations

import asyncio

import pytest

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_agent.errors import EngineOverloaded, EngineUnavailable
from longfold_agent.protocols import Delta, Engine, Request
from longfold_agent.types import Completion, Message, Prompt, Sampling, Usage


def ask(text: str) -> Request:
    return Request(Prompt(text), Sampling(8))


async def test_a_list_gives_replies_by_call_and_ends_with_an_error() -> None:
    cut = Completion("cut", "length", reasoning="why")
    engine: Engine = ScriptedEngine(["one two", cut])
    first, second = await engine.complete([ask("a b c"), ask("d")])
    assert first == Completion("one two", "stop", Usage(3, 2))
    assert second == Completion("cut", "length", Usage(1, 1), "why")
    with pytest.raises(IndexError, match="2 replies"):
        await engine.complete([ask("e")])


async def test_a_function_sees_the_request_and_may_wait() -> None:
    async def reply(request: Request) -> str:
        await asyncio.sleep(0)
        return prompt_text(request.prompt).upper()

    engine = ScriptedEngine(reply)
    chat = Request(Prompt(messages=(Message("system", "be"), Message("user", "brief"))), Sampling(8))
    assert [one.text for one in await engine.complete([ask("hi"), chat])] == ["HI", "BE\nBRIEF"]
    assert engine.calls == 2
    assert engine.usage == Usage(3, 3)


async def test_failures_come_at_their_call_number_and_unwrapped() -> None:
    engine = ScriptedEngine("fine", failures={2: EngineOverloaded("full", 3.0)})
    assert (await engine.complete([ask("a")]))[0].text == "fine"
    with pytest.raises(EngineOverloaded, match="full"):
        await engine.complete([ask("b"), ask("c")])
    assert engine.active == 0
    with pytest.raises(EngineUnavailable):
        await ScriptedEngine(EngineUnavailable("down")).complete([ask("a")])


async def test_a_stream_comes_word_by_word_and_ends_with_the_whole() -> None:
    engine = ScriptedEngine(" two  words\n", latency=0.001)
    deltas = [delta async for delta in engine.stream(ask("x"))]
    assert [delta.text for delta in deltas[:-1]] == [" two", "  words\n"]
    assert deltas[-1] == Delta(completion=Completion(" two  words\n", "stop", Usage(1, 2)))


async def test_cancelling_is_counted_and_frees_the_call() -> None:
    engine = ScriptedEngine("never", latency=60)
    task = asyncio.create_task(engine.complete([ask("a"), ask("b")]))
    while engine.active < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (engine.cancelled, engine.active, engine.peak) == (2, 0, 2)
    assert await engine.window() == 131_072
