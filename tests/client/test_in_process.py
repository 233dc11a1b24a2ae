"""The in-process clients: lifespan, live streaming, disconnects and failures of the app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from longfold_client import ConnectionFailed, ServerFault
from longfold_client.testing import LifespanFailed, in_process, in_process_sync


async def test_answers_events_and_uploads_without_a_socket(service: Any, replies: Any) -> None:
    async with in_process(service.app(), api_key="lf_x", retry=replies.quick) as client:
        assert (await client.answer("Where?", ["https://example.com/a"])).answer == "Paris"
        assert [event.seq async for event in client.events("job_1", after=3)] == [4, 5, 6]
        assert (await client.upload(b"x" * 700_000)).bytes == 700_000
        assert len([step async for step in client.steps("job_1")]) == 201
    assert service.seen[0][2]["authorization"] == "Bearer lf_x"


def test_the_blocking_variant(service: Any, replies: Any, tmp_path: Any) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"y" * 600_000)
    with in_process_sync(service.app(), retry=replies.quick) as client:
        assert client.answer("Where?", [path]).answer == "Paris"
        for event in client.events("job_1"):
            if event.seq == 2:
                break
        assert client.upload(path).bytes == 600_000
        service.streams.append([1, replies.drop])
        assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]
    client.close()


class Recorder:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.go_on = asyncio.Event()

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, str]]:
        self.log.append("start")
        yield {"answer": "42"}
        self.log.append("stop")

    async def events(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            try:
                yield 'data: {"seq": 1, "type": "created", "at": "2026-01-01T00:00:00Z"}\n\n'
                await self.go_on.wait()
                yield 'data: {"seq": 2, "type": "completed", "at": "2026-01-01T00:00:00Z"}\n\n'
            finally:
                self.log.append(f"ended with {request.state.answer}")

        return StreamingResponse(pieces(), media_type="text/event-stream")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/answer/{id}/events", self.events)], lifespan=self.lifespan)


async def test_events_arrive_while_the_app_still_writes() -> None:
    recorder = Recorder()
    async with in_process(recorder.app()) as client:
        seen = []
        async for event in client.events("job_1"):
            seen.append(event.seq)
            recorder.go_on.set()
        assert seen == [1, 2]
    assert recorder.log == ["start", "ended with 42", "stop"]


async def test_the_app_notices_a_client_that_leaves() -> None:
    recorder = Recorder()
    async with in_process(recorder.app()) as client:
        events = client.events("job_1")
        assert (await anext(events)).seq == 1
        await events.aclose()  # type: ignore[attr-defined]
        assert recorder.log == ["start", "ended with 42"]


async def test_an_app_that_fails_to_start_says_so() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no Redis")
        yield

    with pytest.raises(LifespanFailed, match="no Redis"):
        async with in_process(Starlette(lifespan=lifespan)):
            raise AssertionError("it started")


async def test_an_app_that_raises_answers_500_and_one_that_breaks_off_is_a_lost_connection(replies: Any) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if scope["path"].endswith("half"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise RuntimeError("broken")

    async with in_process(bare, retry=replies.quick) as client:
        with pytest.raises(ServerFault):
            await client.get("whole")
        with pytest.raises(ConnectionFailed, match="broke off"):
            await client.get("half")
