"""The vLLM engine against a server of raw sockets that reproduces, byte by byte, what vLLM sends when it works and
when it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from longfold_agent.engines.vllm import VLLMEngine
from longfold_agent.errors import (
    ContextOverflow,
    EngineError,
    EngineOverloaded,
    EngineProtocolError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion, Message, Prompt, Sampling, Usage

from .engine_server import END, STREAM, Handler, Seen, Server, Time, always, event, http, part, text

SECRET = "the secret clause of the contract"
KEY = "sk-very-private"
READ = Request(Prompt(f"Read this: {SECRET}"), Sampling(16))
CHAT = Request(Prompt(messages=(Message("system", "Be brief."), Message("user", SECRET))), Sampling(16))
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 8}}


@pytest.fixture
async def engines() -> AsyncIterator[Callable[..., VLLMEngine]]:
    made: list[VLLMEngine] = []

    def make(*urls: str, **options: Any) -> VLLMEngine:
        settings: dict[str, Any] = {"model": "m", "retry_seconds": 0.0, "jitter": lambda: 1.0} | options
        made.append(VLLMEngine(urls, **settings))
        return made[-1]

    yield make
    for engine in made:
        await engine.aclose()


Make = Callable[..., VLLMEngine]


async def collect(engine: VLLMEngine, request: Request = READ) -> list[Delta]:
    return [delta async for delta in engine.stream(request)]


async def test_a_completion_is_asked_and_read_in_full(engines: Make) -> None:
    reply = text("Hi there", "stop", stop_reason=7) | {"usage": USAGE}
    async with Server(always(http(200, reply))) as server:
        engine = engines(server.url + "/v1/", api_key=KEY, affinity_header="x-session-token")
        sampling = Sampling(16, 0.7, 0.95, 3, ("END",), (7,), {5: 2.5}, {"skip_special_tokens": False, "model": "no"})
        request = Request(READ.prompt, sampling, affinity="doc_1", headers={"x-request-id": "r1"})
        assert await engine.complete([request]) == [Completion("Hi there", "stop", Usage(9, 2, 8), stop_reason=7)]
    seen = server.seen[0]
    assert seen.path == "/v1/completions"
    assert seen.body == {
        "skip_special_tokens": False,
        "model": "m",
        "prompt": READ.prompt.text,
        "max_tokens": 16,
        "temperature": 0.7,
        "top_p": 0.95,
        "seed": 3,
        "stop": ["END"],
        "stop_token_ids": [7],
        "logit_bias": {"5": 2.5},
    }
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert (seen.headers["x-session-token"], seen.headers["x-request-id"]) == ("doc_1", "r1")


async def test_a_chat_reply_separates_reasoning(engines: Make) -> None:
    message = {"role": "assistant", "content": "Yes.", "reasoning": "Because."}
    reply = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    empty = {"choices": [{"index": 0, "message": message | {"content": None}, "finish_reason": "length"}]}
    async with Server(always(http(200, reply), http(200, empty))) as server:
        engine = engines(server.url)
        assert await engine.complete([CHAT]) == [Completion("Yes.", "stop", Usage(9, 2, 8), "Because.")]
        assert await engine.complete([CHAT]) == [Completion("", "length", Usage(), "Because.")]
    assert server.seen[0].path == "/v1/chat/completions"
    assert server.seen[0].body["messages"][1] == {"role": "user", "content": SECRET}


@pytest.mark.parametrize("why", ["length", "repetition", "content_filter"])
async def test_a_reply_that_the_server_broke_off_is_cut(engines: Make, why: str) -> None:
    async with Server(always(http(200, text("The code is 58", why)))) as server:
        [found] = await engines(server.url).complete([READ])
    assert (found.text, found.finish_reason) == ("The code is 58", "length")


async def test_ids_and_logprobs_come_when_asked_for(engines: Make) -> None:
    plain = text("ab", "stop", token_ids=[1, 2], logprobs={"token_logprobs": [-0.5, -1.5]}, prompt_token_ids=[7, 8])
    content = [{"token": "a", "logprob": -0.25}]
    chat = {
        "prompt_token_ids": [9],
        "choices": [
            {"message": {"content": "a"}, "finish_reason": "stop", "token_ids": [3], "logprobs": {"content": content}}
        ],
    }
    torn = text("ab", "stop", token_ids=[1, 2], logprobs={"token_logprobs": [-0.5]})
    async with Server(always(http(200, plain), http(200, chat), http(200, torn))) as server:
        engine = engines(server.url)
        for request, prompt, ids, logprobs in ((READ, (7, 8), (1, 2), (-0.5, -1.5)), (CHAT, (9,), (3,), (-0.25,))):
            found = (await engine.complete([Request(request.prompt, request.sampling, want_ids=True)]))[0]
            assert (found.prompt_ids, found.token_ids, found.logprobs) == (prompt, ids, logprobs)
        with pytest.raises(EngineProtocolError, match="2 token ids but 1 logprobs"):
            await engine.complete([Request(READ.prompt, READ.sampling, want_ids=True)])
    assert [seen.body["logprobs"] for seen in server.seen] == [1, True, 1]
    assert all(seen.body["return_token_ids"] for seen in server.seen)


async def test_a_stream_survives_any_splitting_and_unicode_line_ends(engines: Make) -> None:
    events = b"".join(
        [
            b": ping\n\n",
            b"data: " + json.dumps(text("a\u2028b\x85"), ensure_ascii=False).encode() + b"\r\n\r\n",
            b"data: " + json.dumps(text("日本", "stop")).encode() + b"\n\n",
            b'data: {"choices": [], "usage": ' + json.dumps(USAGE).encode() + b"}\n\n",
            b"data: [DONE]\n\n",
        ]
    )
    for size in (1, 7, 10_000):
        pieces = b"".join(part(events[at : at + size]) for at in range(0, len(events), size))
        async with Server(always(STREAM + pieces + END)) as server:
            engine = engines(server.url)
            deltas = await collect(engine)
            assert [delta.text for delta in deltas] == ["a\u2028b\x85", "日本", ""]
            assert deltas[-1].completion == Completion("a\u2028b\x85日本", "stop", Usage(9, 2, 8))
            await collect(engine)
            assert server.connections == 1
        assert server.seen[0].body["stream_options"] == {"include_usage": True}


async def test_a_chat_stream_collects_reasoning(engines: Make) -> None:
    deltas = [{"role": "assistant", "content": ""}, {"reasoning": "Hm. "}, {"reasoning": "So."}, {"content": "Yes"}]
    chunks = [event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
    chunks.append(event({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]}))
    async with Server(always(STREAM + b"".join(chunks) + event(b"[DONE]") + END)) as server:
        found = await collect(engines(server.url), CHAT)
    assert [delta.text for delta in found] == ["Yes", "!", ""]
    assert found[-1].completion == Completion("Yes!", "length", reasoning="Hm. So.")


OVERFLOW = {
    "error": {
        "message": "This model's maximum context length is 2048 tokens. However, your prompt contains 2500 input "
        "tokens, which exceeds "
        "this limit even without any output tokens. Please reduce the length of the input prompt.",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    }
}
REFUSALS: list[tuple[int, Any, type[EngineError]]] = [
    (
        400,
        {"error": {"message": "temperature must be non-negative", "param": "temperature", "code": 400}},
        EngineRejected,
    ),
    (401, {"error": "Unauthorized"}, EngineRejected),
    (404, {"error": {"message": "The model `x` does not exist.", "param": "model", "code": 404}}, EngineRejected),
    (422, {"detail": [{"loc": ["body"], "input": SECRET}]}, EngineRejected),
    (307, b"", EngineRejected),
    (408, b"", EngineTimeout),
    (429, {"error": {"message": "slow down"}}, EngineOverloaded),
    (500, {"error": {"message": "EngineCore died"}}, EngineUnavailable),
    (502, b"<html>bad gateway</html>", EngineUnavailable),
    (503, {"error": {"message": "queue full"}}, EngineOverloaded),
    (504, b"", EngineTimeout),
]


@pytest.mark.parametrize(("status", "payload", "kind"), REFUSALS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_refusal_has_its_error(
    engines: Make, status: int, payload: Any, kind: type[EngineError], streamed: bool
) -> None:
    async with Server(always(http(status, payload))) as server:
        engine = engines(server.url, api_key=KEY)
        with pytest.raises(kind) as caught:
            await (collect(engine) if streamed else engine.complete([READ]))
    assert type(caught.value) is kind
    assert server.url.removeprefix("http://") in str(caught.value)
    assert str(status) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_prompt_beyond_the_window_tells_both_numbers(engines: Make, streamed: bool) -> None:
    characters = "This model's maximum context length is 2048 tokens. However, your prompt contains 90000 characters."
    long = {"error": {"message": characters, "param": "input_text", "code": 400}}
    async with Server(always(http(400, OVERFLOW), http(400, long))) as server:
        engine = engines(server.url, retry_seconds=60.0)
        for tokens in (2500, None):
            with pytest.raises(ContextOverflow) as caught:
                await (collect(engine) if streamed else engine.complete([READ]))
            assert (caught.value.prompt_tokens, caught.value.window) == (tokens, 2048)
    assert len(server.seen) == 2


async def test_messages_never_repeat_prompt_or_key(engines: Make) -> None:
    said = {"error": {"message": f"cannot parse '{READ.prompt.text}' with key {KEY}"}}
    async with Server(always(http(400, said), http(400, {"error": {"message": f"key {KEY} is odd"}}))) as server:
        engine = engines(server.url, api_key=KEY)
        for _ in range(2):
            with pytest.raises(EngineRejected) as caught:
                await engine.complete([READ])
            assert SECRET not in str(caught.value)
            assert KEY not in str(caught.value)


BROKEN: list[tuple[str, bytes, type[EngineError]]] = [
    (
        "an error object, then [DONE]",
        STREAM
        + event(text("a"))
        + event({"error": {"message": "EngineCore died", "code": 500}})
        + event(b"[DONE]")
        + END,
        EngineProtocolError,
    ),
    ("no finish_reason", STREAM + event(text("a")) + event(b"[DONE]") + END, EngineProtocolError),
    ("no [DONE]", STREAM + event(text("a", "stop")) + END, EngineProtocolError),
    ("no JSON", STREAM + event(b"{oops") + event(b"[DONE]") + END, EngineProtocolError),
    ("cut in the middle", STREAM + event(text("a")) + b"ff\r\ndata: {", EngineUnavailable),
    ("aborted", STREAM + event(text("a", "abort")) + event(b"[DONE]") + END, EngineUnavailable),
    ("closed before anything", b"HTTP/1.1 ", EngineUnavailable),
]


@pytest.mark.parametrize(("reply", "kind"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_broken_stream_is_an_error(engines: Make, reply: bytes, kind: type[EngineError]) -> None:
    async with Server(always(reply)) as server:
        with pytest.raises(kind) as caught:
            await collect(engines(server.url))
    assert type(caught.value) is kind
    assert caught.value.retryable


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"choices": [{}]}', b'{"choices": []}', b'{"error": {"message": "x"}}']
)
async def test_a_reply_that_is_no_completion_is_an_error(engines: Make, payload: bytes) -> None:
    async with Server(always(http(200, payload))) as server:
        with pytest.raises(EngineProtocolError, match=r"127\.0\.0\.1"):
            await engines(server.url).complete([READ])


async def test_a_refused_connection_is_unavailable(engines: Make) -> None:
    async with Server(always(b"")) as server:
        pass
    with pytest.raises(EngineUnavailable, match="ConnectError"):
        await engines(server.url).complete([READ])


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_silent_server_times_out(engines: Make, streamed: bool) -> None:
    async def silent(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if streamed:
            writer.write(STREAM + event(text("a")))
        await seen.gone.wait()

    async with Server(silent) as server:
        engine = engines(server.url, timeout=0.1)
        with pytest.raises(EngineTimeout):
            await (collect(engine) if streamed else engine.complete([READ]))
        await asyncio.wait_for(server.seen[0].gone.wait(), 5)


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_closes_the_connection(engines: Make, streamed: bool) -> None:
    started = asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if streamed:
            writer.write(STREAM + event(text("a")))
        started.set()
        await seen.gone.wait()

    async with Server(slow) as server:
        engine = engines(server.url)
        task: asyncio.Task[Any] = asyncio.ensure_future(collect(engine) if streamed else engine.complete([READ]))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.seen[0].gone.wait(), 5)


async def test_leaving_a_stream_early_closes_the_connection(engines: Make) -> None:
    async def endless(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event(text("a")))
        await seen.gone.wait()

    async with Server(endless) as server:
        deltas = engines(server.url).stream(READ)
        assert (await anext(deltas)).text == "a"
        await deltas.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(server.seen[0].gone.wait(), 5)


async def test_one_failure_of_several_cancels_the_others_and_is_raised_itself(engines: Make) -> None:
    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body["prompt"] == "bad":
            writer.write(http(400, {"error": {"message": "no"}}))
        else:
            await seen.gone.wait()

    async with Server(handler) as server:
        with pytest.raises(EngineRejected):
            await engines(server.url).complete([READ, Request(Prompt("bad"), Sampling(1)), READ])
        for seen in server.seen:
            if seen.body["prompt"] != "bad":
                await asyncio.wait_for(seen.gone.wait(), 5)


GOOD = http(200, text("fine", "stop"))


async def test_retries_wait_longer_each_time_and_then_succeed(engines: Make) -> None:
    time = Time()
    bad = http(500, b"")
    async with Server(always(bad, b"HTTP", bad, GOOD)) as server:
        engine = engines(server.url, retry_seconds=60.0, clock=time.clock, sleep=time.sleep)
        assert (await engine.complete([READ]))[0].text == "fine"
    assert time.slept == [0.25, 0.5, 1.0]


async def test_retries_end_in_time_with_the_last_error(engines: Make) -> None:
    time = Time()
    async with Server(always(http(500, b""))) as server:
        engine = engines(server.url, retry_seconds=5.0, clock=time.clock, sleep=time.sleep)
        with pytest.raises(EngineUnavailable, match="HTTP 500"):
            await engine.complete([READ])
    assert time.slept == [0.25, 0.5, 1.0, 2.0]


async def test_retry_after_is_honoured_and_passed_on(engines: Make) -> None:
    time = Time()
    full = http(503, b"", retry_after="7")
    async with Server(always(full, GOOD)) as server:
        engine = engines(server.url, retry_seconds=10.0, clock=time.clock, sleep=time.sleep)
        assert (await engine.complete([READ]))[0].text == "fine"
        assert time.slept == [7.0]
    async with Server(always(full)) as server:
        engine = engines(server.url, retry_seconds=5.0, clock=time.clock, sleep=time.sleep)
        with pytest.raises(EngineOverloaded) as caught:
            await engine.complete([READ])
    assert caught.value.retry_after == 7.0
    assert len(server.seen) == 1


@pytest.mark.parametrize("wish", ["soon", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
async def test_a_retry_after_that_is_none_is_passed_over(engines: Make, wish: str) -> None:
    async with Server(always(http(503, b"", retry_after=wish))) as server:
        with pytest.raises(EngineOverloaded) as caught:
            await engines(server.url, retry_seconds=0.0).complete([READ])
    assert caught.value.retry_after is None


async def test_what_cannot_be_cured_is_not_retried(engines: Make) -> None:
    async with Server(always(http(400, b"{}"))) as server:
        with pytest.raises(EngineRejected):
            await engines(server.url, retry_seconds=60.0).complete([READ])
    assert len(server.seen) == 1


async def test_a_stream_is_retried_before_its_first_text_only(engines: Make) -> None:
    time = Time()
    late = STREAM + event(text("a")) + END
    early = STREAM + event({"error": {"message": "died"}}) + event(b"[DONE]") + END
    whole = STREAM + event(text("b", "stop")) + event(b"[DONE]") + END
    async with Server(always(early, late, whole)) as server:
        engine = engines(server.url, retry_seconds=60.0, clock=time.clock, sleep=time.sleep)
        found = []
        with pytest.raises(EngineProtocolError):
            async for delta in engine.stream(READ):
                found.append(delta.text)
        assert found == ["a"]
        assert len(server.seen) == 2


async def test_an_affinity_keeps_its_replica_and_moves_when_that_is_lost(engines: Make) -> None:
    time = Time()
    async with Server(always(GOOD)) as one, Server(always(GOOD)) as two:
        engine = engines(one.url, two.url, clock=time.clock, sleep=time.sleep, affinity_header="x-session")
        request = Request(READ.prompt, READ.sampling, affinity="Dokument Ü")
        for _ in range(4):
            await engine.complete([request])
        home, other = (one, two) if one.seen else (two, one)
        assert (len(home.seen), len(other.seen)) == (4, 0)
        assert home.seen[0].headers["x-session"].isascii()
        home.handler = always(http(500, b""))
        for _ in range(4):
            await engine.complete([request])
        assert (len(home.seen), len(other.seen)) == (7, 4)
        home.handler = always(GOOD)
        time.now += 1.0
        await engine.complete([request])
        await engine.complete([request])
        assert [seen.path for seen in home.seen[7:]] == ["/health", "/v1/completions", "/v1/completions"]
        assert len(other.seen) == 4


async def test_the_window_is_the_smallest_and_asked_once_per_replica(engines: Make) -> None:
    def serving(size: int) -> Handler:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(http(200, {"data": [{"id": "m", "max_model_len": size}, {"id": "lora", "max_model_len": 9}]}))

        return handler

    async with Server(serving(4096)) as one, Server(serving(2048)) as two:
        engine = engines(one.url, two.url)
        assert await engine.window() == 2048
        assert await engine.window() == 2048
        assert [seen.path for seen in one.seen + two.seen] == ["/v1/models"] * 2
        with pytest.raises(EngineRejected, match="'other' is not served; served: lora, m"):
            await engines(one.url, model="other").window()
        with pytest.raises(EngineRejected, match="must be named; served: lora, m"):
            await engines(one.url, model="").window()
    async with Server(serving(4096)) as one:
        assert await engines(one.url, two.url).window() == 4096
        with pytest.raises(EngineUnavailable):
            await engines(two.url).window()


async def test_without_a_name_the_only_served_model_is_used(engines: Make) -> None:
    async with Server(always(GOOD)) as server:
        engine = engines(server.url, model="")
        await engine.complete([READ])
        await engine.complete([READ])
        assert await engine.window() == 2048
    assert [seen.path for seen in server.seen] == ["/v1/models", "/v1/completions", "/v1/completions"]
    assert server.seen[1].body["model"] == "m"


@pytest.mark.parametrize("streamed", [False, True])
async def test_another_model_behind_the_same_url_is_noticed(engines: Make, streamed: bool) -> None:
    served: dict[str, Any] = {"id": "a", "max_model_len": 4096}

    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.path == "/v1/models":
            writer.write(http(200, {"data": [served]}))
        elif seen.body["model"] != served["id"]:
            writer.write(http(404, {"error": {"message": "The model does not exist."}}))
        else:
            writer.write(STREAM + event(text("ok", "stop")) + event(b"[DONE]") + END if streamed else GOOD)

    async def ask(engine: VLLMEngine) -> object:
        return await (collect(engine) if streamed else engine.complete([READ]))

    async with Server(handler) as server:
        unnamed, named = engines(server.url, model=""), engines(server.url, model="a")
        for engine in (unnamed, named):
            assert await engine.window() == 4096
            await ask(engine)
        served |= {"id": "b", "max_model_len": 8192}
        with pytest.raises(EngineUnavailable, match="another model"):
            await ask(unnamed)
        await ask(unnamed)
        assert await unnamed.window() == 8192
        for _ in range(2):
            with pytest.raises(EngineRejected):
                await ask(named)
        with pytest.raises(EngineRejected, match="'a' is not served; served: b"):
            await named.window()


async def test_a_smaller_window_behind_the_same_url_is_noticed(engines: Make) -> None:
    size = 4096

    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.path == "/v1/models":
            writer.write(http(200, {"data": [{"id": "m", "max_model_len": size}]}))
        else:
            why = f"This model's maximum context length is {size} tokens."
            writer.write(http(400, {"error": {"message": why}}))

    async with Server(handler) as server:
        engine = engines(server.url)
        assert await engine.window() == 4096
        size = 2048
        with pytest.raises(ContextOverflow):
            await engine.complete([READ])
        assert await engine.window() == 2048


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"nothing", b'{"data": [{}]}'])
async def test_a_broken_list_of_models_is_an_error(engines: Make, payload: bytes) -> None:
    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, payload))

    async with Server(handler) as server:
        with pytest.raises(EngineProtocolError, match="models"):
            await engines(server.url).window()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://a", "http://", "http://[::1"])
def test_a_base_url_must_be_one(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        VLLMEngine(url)
