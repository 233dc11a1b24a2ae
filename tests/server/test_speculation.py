"""Speculative reading: the same steps as without it, in fewer round trips, and nothing left behind by a wrong guess."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from longfold_agent.fold import Fold
from longfold_agent.types import Call, Chunk, Completion, Position, Query, Update, UpdateKind, Usage
from longfold_server.answering.speculation import Speculation

FACTS = {1: "FACT one is red.", 2: "FACT two is blue.", 7: "FACT three is green."}
TOLD = ("id", "update", "chunk", "start", "end", "memory", "plan", "diff")


def begun(text: str = "") -> Fold:
    fold = Fold.start(Query("q"), profile="p", tokens="t", chunk_budget=10, retries=1)
    [call] = fold.pending()
    return fold.advance(call.id, Update(UpdateKind.REWRITE, text, "plan"))[0] if text else fold


def chunk(index: int) -> Chunk:
    return Chunk(index, Position(0, index, index), Position(0, index + 1, index + 1), "x", 1)


class Engine:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Call, int]] = []
        self.open: dict[int, asyncio.Future[str]] = {}
        self.cancelled: list[int] = []

    async def complete(self, call: Call, chunk: Chunk) -> Completion:
        self.asked.append((call, chunk.index))
        self.open[chunk.index] = asyncio.get_running_loop().create_future()
        try:
            return Completion(await self.open[chunk.index], "stop", usage=Usage())
        except asyncio.CancelledError:
            self.cancelled.append(chunk.index)
            raise


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_right_guess_is_the_call_that_would_have_been_made() -> None:
    engine = Engine()
    calls, fold = Speculation(engine.complete), begun()
    first = asyncio.create_task(calls.complete(fold, [chunk(0), chunk(1)]))
    await settle()
    assert [index for _, index in engine.asked] == [0, 1]
    engine.open[1].set_result("second")
    engine.open[0].set_result("first")
    assert (await first).text == "first"
    fold, _ = fold.advance("read/0", Update(UpdateKind.KEEP))
    assert engine.asked[1][0] == fold.pending()[0]
    assert (await calls.complete(fold, [chunk(1)])).text == "second"
    assert len(engine.asked) == 2
    await calls.aclose()


async def test_a_wrong_guess_is_dropped_and_asked_again() -> None:
    engine = Engine()
    calls, fold = Speculation(engine.complete), begun()
    first = asyncio.create_task(calls.complete(fold, [chunk(0), chunk(1), chunk(2)]))
    await settle()
    engine.open[0].set_result("first")
    await first
    fold, _ = fold.advance("read/0", Update(UpdateKind.REWRITE, "new", "plan"))
    second = asyncio.create_task(calls.complete(fold, [chunk(1)]))
    await settle()
    assert sorted(engine.cancelled) == [1, 2]
    assert engine.asked[-1] == (fold.pending()[0], 1) and engine.asked[-1][0].memory == "new"
    engine.open[1].set_result("again")
    assert (await second).text == "again"
    await calls.aclose()


async def test_a_failure_ahead_counts_only_when_its_turn_comes() -> None:
    engine = Engine()
    calls, fold = Speculation(engine.complete), begun()
    first = asyncio.create_task(calls.complete(fold, [chunk(0), chunk(1)]))
    await settle()
    engine.open[1].set_exception(OSError("the engine broke"))
    engine.open[0].set_result("first")
    assert (await first).text == "first"
    fold, _ = fold.advance("read/0", Update(UpdateKind.KEEP))
    with pytest.raises(OSError, match="broke"):
        await calls.complete(fold, [chunk(1)])
    await calls.aclose()


async def test_nothing_is_left_under_way() -> None:
    engine = Engine()
    calls = Speculation(engine.complete)
    reading = asyncio.create_task(calls.complete(begun(), [chunk(0), chunk(1), chunk(2)]))
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await calls.aclose()
    assert sorted(engine.cancelled) == [0, 1, 2]


@pytest.mark.parametrize("guesses", [1, 3])
async def test_a_speculative_reading_takes_the_same_steps(
    start: Any, text_with: Callable[[int, dict[int, str]], str], guesses: int
) -> None:
    told, made = [], []
    for speculation in (0, guesses):
        async with start(speculation=speculation) as service:
            job = (await service.ask(text_with(10, FACTS), mode="fold"))["id"]
            done = await service.finished(job)
            steps = (await service.client.get(f"/answer/{job}/steps", params={"limit": 200})).json()["steps"]
            told.append(([{name: step[name] for name in TOLD} for step in steps], done["result"]["answer"]))
            made.append(len(service.engine.requests))
    assert told[0] == told[1]
    assert done["result"]["answer"] == "FACT three is green."
    # Some calls behind the three facts were guessed wrongly, and no reading asks for more than that.
    assert made[0] < made[1] <= made[0] + guesses * len(FACTS)


async def test_a_budget_of_tokens_is_not_spent_on_guesses(
    start: Any, text_with: Callable[[int, dict[int, str]], str]
) -> None:
    async with start(speculation=3) as service:
        job = (await service.ask(text_with(10, FACTS), mode="fold", limits={"tokens": 100_000}))["id"]
        done = await service.finished(job)
        assert done["status"] == "completed"
        reads = done["progress"]["chunks_read"]
        assert done["result"]["usage"]["calls"] == len(service.engine.requests)
        assert len(service.engine.requests) <= reads + 2  # the question's split and the answer
