"""Engines that restart, refuse, drown, hang up in the middle, or are gone: what calls do meanwhile, and how they come
back. Real servers on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from longfold_agent.engines.connection import client
from longfold_agent.engines.endpoints import Circuit
from longfold_agent.engines.vllm import REACHED_SECONDS, REPLY_BYTES, VLLMEngine
from longfold_agent.errors import EngineOverloaded, EngineProtocolError, EngineTimeout, EngineUnavailable
from longfold_agent.protocols import Request
from longfold_agent.types import Prompt, Sampling

from .engine_server import END, STREAM, Handler, Seen, Server, Time, always, event, http, text

OPEN = Circuit.OPEN
GOOD = http(200, text("fine", "stop"))
Make = Callable[..., VLLMEngine]


def ask(document: str = "") -> Request:
    return Request(Prompt("read this"), Sampling(16), affinity=document)


async def said(engine: VLLMEngine, document: str = "") -> str:
    return (await engine.complete([ask(document)]))[0].text


@pytest.fixture
async def engines() -> AsyncIterator[Make]:
    made: list[VLLMEngine] = []

    def make(*servers: Server, **options: Any) -> VLLMEngine:
        settings: dict[str, Any] = {"model": "m", "retry_seconds": 0.0, "pause": 0.2, "jitter": lambda: 1.0} | options
        made.append(VLLMEngine([server.url for server in servers], **settings))
        return made[-1]

    yield make
    for engine in made:
        await engine.aclose()


async def pair(engine: VLLMEngine, one: Server, two: Server, document: str) -> tuple[Server, Server]:
    """(the document's home, the other), found by one call."""
    await said(engine, document)
    return (one, two) if one.seen else (two, one)


async def test_a_call_outlasts_a_restart(engines: Make) -> None:
    async with Server(always(GOOD)) as server:
        opened = asyncio.Event()
        engine = engines(server, retry_seconds=60.0, on_circuit=lambda url, state: state is OPEN and opened.set())
        await said(engine)
        await server.stop()
        call = asyncio.create_task(said(engine))
        await opened.wait()
        await server.start()
        assert await call == "fine"
    assert [seen.path for seen in server.seen][-2:] == ["/health", "/v1/completions"]


async def test_a_call_in_flight_at_a_kill_is_made_again_elsewhere(engines: Make) -> None:
    async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await seen.gone.wait()

    async with Server(always(GOOD)) as one, Server(always(GOOD)) as two:
        engine = engines(one, two)
        home, other = await pair(engine, one, two, "a document")
        home.handler = hang
        call = asyncio.create_task(said(engine, "a document"))
        while len(home.seen) < 2:
            await asyncio.sleep(0.01)
        await home.stop()
        assert await call == "fine"
        assert len(other.seen) == 1


@pytest.mark.parametrize("end", [b"", event({"error": {"message": "EngineCore died"}}) + event(b"[DONE]") + END])
async def test_a_stream_killed_in_the_middle_is_the_callers_to_begin_again(engines: Make, end: bytes) -> None:
    broken, whole = STREAM + event(text("half")) + end, STREAM + event(text("all", "stop")) + event(b"[DONE]") + END
    async with Server(always(broken, whole)) as server:
        engine = engines(server, retry_seconds=60.0)
        shown = []
        with pytest.raises((EngineUnavailable, EngineProtocolError)):
            async for delta in engine.stream(ask()):
                shown.append(delta.text)
        assert shown == ["half"]
        assert [delta.text async for delta in engine.stream(ask())] == ["all", ""]


async def test_an_overloaded_replica_rests_as_long_as_it_asked(engines: Make) -> None:
    time = Time()
    async with Server(always(GOOD)) as one, Server(always(GOOD)) as two:
        engine = engines(one, two, clock=time.clock, sleep=time.sleep)
        home, other = await pair(engine, one, two, "a document")
        home.handler = always(http(503, b"", retry_after="7"), GOOD)
        for _ in range(4):
            await said(engine, "a document")
        assert (len(home.seen), len(other.seen)) == (2, 4)
        time.now += 7.0
        await said(engine, "a document")
    assert (len(home.seen), len(other.seen)) == (3, 4)
    assert home.seen[-1].path == "/v1/completions"


async def test_when_every_replica_is_overloaded_the_error_says_for_how_long(engines: Make) -> None:
    time = Time()
    async with Server(always(http(503, b"", retry_after="7"))) as one:
        engine = engines(one, clock=time.clock, sleep=time.sleep)
        for _ in range(3):
            with pytest.raises(EngineOverloaded) as caught:
                await said(engine)
            time.now += 1.0
        assert caught.value.retry_after == 5.0
    assert len(one.seen) == 1


async def test_a_full_queue_without_retry_after_ends_when_it_is_served(engines: Make) -> None:
    async with Server(always(*[http(503, {"error": {"message": "queue full"}})] * 5, GOOD)) as server:
        assert await said(engines(server, retry_seconds=60.0)) == "fine"


async def test_one_dead_replica_costs_few_attempts_and_no_call(engines: Make) -> None:
    time = Time()
    told: list[tuple[str, Circuit]] = []
    async with Server(always(GOOD)) as one, Server(always(http(500, b""))) as dead:
        watch = lambda url, state: told.append((url, state))  # noqa: E731
        engine = engines(one, dead, pause=1.0, clock=time.clock, sleep=time.sleep, on_circuit=watch)
        for number in range(40):
            assert await said(engine, f"document {number}") == "fine"
        assert len(dead.seen) == 3
        assert told[2:] == [(dead.url, OPEN)]
        time.now += 1.0
        for number in range(40):
            await said(engine, f"document {number}")
        assert [seen.path for seen in dead.seen[3:]] == ["/health"]
        dead.handler = always(GOOD)
        time.now += 2.0
        for number in range(40):
            await said(engine, f"document {number}")
        assert 10 < len(dead.seen) < 35
    assert told[-1] == (dead.url, Circuit.CLOSED)


async def test_a_hung_replica_is_not_probed_by_everybody(engines: Make) -> None:
    async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await seen.gone.wait()

    async with Server(hang) as server:
        engine = engines(server, timeout=0.05, pause=0.2)
        for _ in range(3):
            with pytest.raises(EngineTimeout):
                await said(engine)
        await asyncio.sleep(0.25)
        replies = await asyncio.gather(*(said(engine) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(reply, EngineTimeout) for reply in replies) == 1
        assert sum(isinstance(reply, EngineUnavailable) for reply in replies) == 19
    assert [seen.path for seen in server.seen[3:]] == ["/health"]


async def test_a_server_without_health_is_well_when_it_says_so(engines: Make) -> None:
    def serving(status: int) -> Handler:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(http(404, b"") if seen.path == "/health" else http(status, text("fine", "stop")))

        return handler

    time = Time()
    async with Server(serving(500)) as server:
        engine = engines(server, clock=time.clock, sleep=time.sleep)
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="HTTP 500"):
                await said(engine)
        with pytest.raises(EngineUnavailable, match=r"every replica is down; last: .*HTTP 500"):
            await said(engine)
        assert len(server.seen) == 3
        server.handler = serving(200)
        time.now += 1.0
        assert await said(engine) == "fine"


@pytest.mark.parametrize("call", ["complete", "stream", "window"])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_endpoint_that_never_ends_its_reply_is_left(engines: Make, call: str, status: int) -> None:
    sent = 0

    async def endless(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(STREAM.replace(b"200", str(status).encode()))
        block = event(text("x" * 2**20))
        while not seen.gone.is_set():
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async with Server(endless) as server:
        engine = engines(server, timeout=60.0)
        with pytest.raises(EngineProtocolError if status == 200 else EngineUnavailable):
            if call == "complete":
                await said(engine)
            elif call == "window":
                await engine.window()
            else:
                [delta async for delta in engine.stream(ask())]
        assert sent < 2 * REPLY_BYTES
        server.handler = always(GOOD)
        assert await said(engine) == "fine"


async def test_many_calls_of_one_document_spill_over(engines: Make) -> None:
    release = asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(GOOD)

    async with Server(slow) as one, Server(slow) as two:
        engine = engines(one, two)
        calls = [asyncio.create_task(said(engine, "one document")) for _ in range(40)]
        while len(one.seen) + len(two.seen) < 40:
            await asyncio.sleep(0.01)
        release.set()
        assert await asyncio.gather(*calls) == ["fine"] * 40
    assert min(len(one.seen), len(two.seen)) >= 12


async def test_the_second_replica_is_tried_in_real_time_without_retries(engines: Make) -> None:
    async with Server(always(http(500, b""))) as one, Server(always(http(500, b""))) as two:
        engine = engines(one, two, retry_seconds=0.0)
        with pytest.raises(EngineUnavailable):
            await said(engine, "a document")
        assert (len(one.seen), len(two.seen)) == (1, 1)


async def test_what_comes_back_is_asked_for_its_window_anew(engines: Make) -> None:
    def serving(size: int, status: int = 200) -> Handler:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            models = {"data": [{"id": "m", "max_model_len": size}]}
            writer.write(http(200, models) if seen.path == "/v1/models" else http(status, text("fine", "stop")))

        return handler

    async with Server(serving(4096)) as server:
        engine = engines(server, pause=0.05)
        assert await engine.window() == 4096
        await server.stop()
        for _ in range(3):
            with pytest.raises(EngineUnavailable):
                await said(engine)
        server.handler = serving(2048)
        await server.start()
        await asyncio.sleep(0.1)
        assert await said(engine) == "fine"
        assert await engine.window() == 2048


async def test_asking_for_the_window_finds_an_idle_replica_well_again(engines: Make) -> None:
    state: dict[str, Circuit] = {}
    async with Server(always(GOOD)) as server:
        engine = engines(server, pause=0.05, on_circuit=state.__setitem__)
        assert await engine.window() == 2048
        await server.stop()
        for _ in range(3):
            with pytest.raises(EngineUnavailable):
                await said(engine)
        assert state == {server.url: OPEN}
        assert await engine.window() == 2048
        await server.start()
        while state[server.url] is OPEN:
            assert await engine.window() == 2048
            await asyncio.sleep(0.02)


async def test_an_engine_that_stopped_cannot_be_reached_although_its_window_is_known(engines: Make) -> None:
    time = Time()
    async with Server(always(http(200, text("ok")))) as one, Server(always(http(200, text("ok")))) as two:
        engine = engines(one, two, clock=time.clock)
        await engine.window()
        await engine.reach()
        await one.stop()
        time.now += REACHED_SECONDS
        await engine.reach()
        asked = len(two.seen)
        await engine.reach()
        assert len(two.seen) == asked  # the answer is still good
        await two.stop()
        time.now += REACHED_SECONDS
        with pytest.raises(EngineUnavailable, match="no replica answers"):
            await engine.reach()
        assert await engine.window() == 2048
        await two.start()
        time.now += REACHED_SECONDS
        await engine.reach()


async def test_only_a_live_engine_behind_its_server_is_reached(engines: Make) -> None:
    async with Server(always(http(503, {}))) as dead, Server(always(http(404, {}))) as without_health:
        with pytest.raises(EngineUnavailable):
            await engines(dead).reach()
        await engines(dead, without_health).reach()


async def test_the_kernel_watches_over_silent_connections() -> None:
    async with (
        Server(always(GOOD)) as server,
        client("", 5.0, 5.0) as http_client,
        http_client.stream("GET", server.url + "/health") as response,
    ):
        found = response.extensions["network_stream"].get_extra_info("socket")
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
