"""A server that speaks as much of vLLM's protocol as longfold uses, with a set latency, set failures and no model.

    python benchmarks/stub_engine.py --port 9001 --latency 0.25

`--policy keep` (the default) answers every read call KEEP, or by a rewrite of the memory at every `--rewrite-every`-th
call, and an answer call by "stub answer". `--policy chain` replies as `chain.py` says, so that a whole job can be
checked.

GET /stub gives {calls, engine_seconds, first_call}: calls so far, the time spent inside them as the engine saw it, and
the clock at the first one; POST /stub/reset starts again. POST /stub/trouble {kind, calls, seconds} makes the next
calls fail: `overloaded` (503 with Retry-After), `dropped` (the connection closes in the middle of the reply), `paused`
(silent for some seconds first).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from enum import StrEnum

import uvicorn
from chain import reply as chained
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

PIECES = 4
"""Deltas of a streamed reply."""


class Kind(StrEnum):
    OVERLOADED = "overloaded"
    DROPPED = "dropped"
    PAUSED = "paused"


class Trouble(BaseModel):
    """What happens to the next `calls` calls."""

    kind: Kind
    calls: int = 1
    seconds: float = 1.0
    """Of Retry-After, or of silence."""


class Dropped(Response):
    """Begins a reply and closes the connection in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", str(self.media_type).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # A reply that is not ended makes the web server close the connection.
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})


class Counting:
    """The policy of `--policy keep`."""

    def __init__(self, rewrite_every: int) -> None:
        self._rewrite_every = rewrite_every
        self._calls = 0

    def reply(self, prompt: str) -> str:
        self._calls += 1
        if "KEEP" not in prompt:
            return "stub answer"
        if self._rewrite_every and self._calls % self._rewrite_every == 0:
            return f"<memory>noted {self._calls} sections so far</memory><plan>read on</plan>"
        return "KEEP"


def create_app(latency: float, rewrite_every: int, window: int, policy: str = "keep") -> FastAPI:
    """The stub as an ASGI app. `latency` in seconds, `window` in tokens."""
    app = FastAPI()
    seen = {"calls": 0, "engine_seconds": 0.0, "first_call": 0.0}
    troubles: deque[Trouble] = deque()
    reply = chained if policy == "chain" else Counting(rewrite_every).reply

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/stub")
    async def stub() -> dict[str, float]:
        return seen

    @app.post("/stub/reset")
    async def reset() -> None:
        seen.update(calls=0, engine_seconds=0.0, first_call=0.0)
        troubles.clear()

    @app.post("/stub/trouble")
    async def trouble(wanted: Trouble) -> None:
        troubles.extend([wanted] * wanted.calls)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [{"id": "stub", "object": "model", "max_model_len": window}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        started = time.perf_counter()
        seen["first_call"] = seen["first_call"] or time.time()
        body = await request.json()
        prompt = "".join(message["content"] for message in body["messages"])
        seen["calls"] += 1
        text = reply(prompt)
        met = troubles.popleft() if troubles else None
        if met is not None and met.kind is Kind.OVERLOADED:
            return Response("overloaded", 503, {"retry-after": str(math.ceil(met.seconds))})
        await asyncio.sleep(latency + (met.seconds if met is not None and met.kind is Kind.PAUSED else 0.0))
        seen["engine_seconds"] += time.perf_counter() - started
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4 + 1, "total_tokens": 0}
        head = {"id": "stub", "object": "chat.completion", "created": 0, "model": "stub"}
        cut = met is not None and met.kind is Kind.DROPPED
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            whole = head | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
            if cut:
                return Dropped(json.dumps(whole)[: len(text) // 2], media_type="application/json")
            return JSONResponse(whole)
        parts = [_delta(piece) for piece in _pieces(text)]
        if cut:
            said = "".join(f"data: {json.dumps(head | part)}\n\n" for part in parts[: PIECES // 2])
            return Dropped(said, media_type="text/event-stream")

        async def written() -> AsyncIterator[str]:
            for part in parts:
                yield f"data: {json.dumps(head | part)}\n\n"
                await asyncio.sleep(latency / PIECES)
            end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            for part in (end, {"choices": [], "usage": usage}):
                yield f"data: {json.dumps(head | part)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(written(), media_type="text/event-stream")

    return app


def _delta(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]}


def _pieces(text: str) -> list[str]:
    size = max(1, math.ceil(len(text) / PIECES))
    return [text[at : at + size] for at in range(0, len(text), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--latency", type=float, default=0.25, help="seconds per call")
    parser.add_argument("--policy", choices=("keep", "chain"), default="keep", help="what is replied")
    parser.add_argument("--rewrite-every", type=int, default=20, help="keep: a rewrite at every Nth call, 0 for never")
    parser.add_argument("--window", type=int, default=32768, help="max_model_len it reports")
    args = parser.parse_args()
    app = create_app(args.latency, args.rewrite_every, args.window, args.policy)
    # A dropped reply is an error to the web server; it is meant here.
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="critical", access_log=False)


if __name__ == "__main__":
    main()
