"""Leaving `answer` early: the job goes on unless the caller said otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from longfold_client import AsyncClient, Client, Event, InvalidArgument

URL = "https://example.com/a"


def interrupt(event: Event) -> None:
    if event.seq == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("asked", "cancelled", "notes"), [(False, [], []), (True, ["job_1"], ["job job_1 is cancelled."])]
)
def test_keyboard_interrupt(service: Any, replies: Any, asked: bool, cancelled: list[str], notes: list[str]) -> None:
    service.streams.append([1, 2, lambda: asyncio.sleep(2)])
    with Client(service.url, retry=replies.quick) as client, pytest.raises(KeyboardInterrupt) as caught:
        client.answer("Where?", [URL], on_event=interrupt, cancel_on_interrupt=asked)
    assert service.cancelled == cancelled and getattr(caught.value, "__notes__", []) == notes


@pytest.mark.parametrize("asked", [False, True])
async def test_task_cancellation(service: Any, replies: Any, asked: bool) -> None:
    async def forever() -> None:
        await asyncio.sleep(30)

    service.streams.append([1, 2, forever])
    seen = asyncio.Event()
    async with AsyncClient(service.url, retry=replies.quick) as client:

        async def on_event(event: Event) -> None:
            if event.seq == 2:
                seen.set()

        task = asyncio.create_task(client.answer("Where?", [URL], on_event=on_event, cancel_on_interrupt=asked))
        await asyncio.wait_for(seen.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert service.cancelled == (["job_1"] if asked else [])


def test_an_interrupt_before_the_reply_finds_and_cancels_the_same_job(service: Any, replies: Any) -> None:
    service.script("POST /answer", replies.broken)

    def no_sleep() -> float:
        raise KeyboardInterrupt

    from dataclasses import replace

    with Client(service.url, retry=replace(replies.quick, random=no_sleep)) as client, pytest.raises(KeyboardInterrupt):
        client.answer("Where?", [URL], cancel_on_interrupt=True)
    assert len(service.jobs) == 1 and service.cancelled == ["job_1"]


def test_a_cancel_that_fails_is_said(service: Any, replies: Any) -> None:
    service.streams.append([1, 2, lambda: asyncio.sleep(2)])
    service.script("DELETE /answer/{id}", lambda: replies.problem(503, "store_unavailable", "Redis is away"))
    with Client(service.url, retry=replies.quick) as client, pytest.raises(KeyboardInterrupt) as caught:
        client.answer("Where?", [URL], on_event=interrupt, cancel_on_interrupt=True)
    (note,) = caught.value.__notes__
    assert "job_1 could not be cancelled and may still run" in note and "Redis is away" in note


def test_a_job_that_was_quicker_is_said(service: Any, replies: Any) -> None:
    def finish(event: Event) -> None:
        service.status = "completed"
        raise KeyboardInterrupt

    with Client(service.url, retry=replies.quick) as client, pytest.raises(KeyboardInterrupt) as caught:
        client.answer("Where?", [URL], on_event=finish, cancel_on_interrupt=True)
    assert caught.value.__notes__ == ["job job_1 had already completed."]


async def test_async_callbacks_are_awaited_and_the_blocking_client_refuses_them(service: Any, replies: Any) -> None:
    seen: list[int] = []

    async def on_event(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(event.seq)

    async with AsyncClient(service.url, retry=replies.quick) as client:
        await client.answer("Where?", [URL], on_event=on_event)
    assert seen == [1, 2, 3, 4, 5, 6]

    def blocking() -> None:
        with Client(service.url, retry=replies.quick) as other:
            other.answer("Where?", [URL], on_event=on_event)

    service.status = "in_progress"
    with pytest.raises(InvalidArgument, match="AsyncClient"):
        await asyncio.to_thread(blocking)


async def test_many_answers_share_one_client(service: Any, replies: Any) -> None:
    async with AsyncClient(service.url, retry=replies.quick) as client:
        results = await asyncio.gather(*(client.answer(f"Where {n}?", [URL]) for n in range(20)))
    assert [result.answer for result in results] == ["Paris"] * 20 and len(service.jobs) == 20
