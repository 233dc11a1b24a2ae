"""A server that speaks as much of vLLM's protocol as longfold uses, with a set latency and no model.

Knows nothing of what it is asked.

    python benchmarks/stub_engine.py --port 9001 --latency 0.25

Every read call is answered KEEP, or by a rewrite of the memory at every `--rewrite-every`-th call; an answer call by
"stub answer". GET /stub gives {calls, engine_seconds, first_call}: calls so far, the time spent inside them as the
engine saw it, and the clock at the first one; POST /stub/reset starts again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse


def create_app(latency: float, rewrite_every: int, window: int) -> FastAPI:
    """The stub as an ASGI app. `latency` in seconds, `window` in tokens."""
    app = FastAPI()
    seen = {"calls": 0, "engine_seconds": 0.0, "first_call": 0.0}

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/stub")
    async def stub() -> dict[str, float]:
        return seen

    @app.post("/stub/reset")
    async def reset() -> None:
        seen.update(calls=0, engine_seconds=0.0, first_call=0.0)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [{"id": "stub", "object": "model", "max_model_len": window}]}

    def reply(prompt: str) -> str:
        if "KEEP" not in prompt:
            return "stub answer"
        if rewrite_every and seen["calls"] % rewrite_every == 0:
            return f"<memory>noted {seen['calls']} sections so far</memory><plan>read on</plan>"
        return "KEEP"

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        started = time.perf_counter()
        seen["first_call"] = seen["first_call"] or time.time()
        body = await request.json()
        prompt = "".join(message["content"] for message in body["messages"])
        seen["calls"] += 1
        text = reply(prompt)
        await asyncio.sleep(latency)
        seen["engine_seconds"] += time.perf_counter() - started
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4 + 1, "total_tokens": 0}
        head = {"id": "stub", "object": "chat.completion", "created": 0, "model": "stub"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            return JSONResponse(
                head | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
            )

        async def chunks() -> AsyncIterator[str]:
            delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            for part in ({"choices": [delta]}, {"choices": [end]}, {"choices": [], "usage": usage}):
                yield f"data: {json.dumps(head | part)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--latency", type=float, default=0.25, help="seconds per call")
    parser.add_argument("--rewrite-every", type=int, default=20, help="a rewrite at every Nth call, 0 for never")
    parser.add_argument("--window", type=int, default=32768, help="max_model_len it reports")
    args = parser.parse_args()
    app = create_app(args.latency, args.rewrite_every, args.window)
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
