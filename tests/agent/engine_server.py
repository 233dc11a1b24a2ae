"""A server of raw sockets that reproduces, byte by byte, what vLLM sends when it works and when it fails; it can be
stopped and started again on its port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 2048}]}


@dataclass
class Seen:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: Any
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closes the connection before the reply is over."""


Handler = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """An HTTP/1.1 server whose replies are written as bytes by a handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[Seen] = []
        self.port = 0
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; on the same port as before after a stop."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Like a kill: every connection is closed, new ones are refused."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                data = await reader.readexactly(int(headers.get("content-length") or 0))
                seen = Seen(head[0].split(" ")[1], headers, json.loads(data) if data else None)
                self.seen.append(seen)
                watch = asyncio.create_task(self._watch(reader, seen))
                await self.handler(seen, writer)
                await writer.drain()
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _watch(self, reader: asyncio.StreamReader, seen: Seen) -> None:
        while not reader.at_eof():
            await asyncio.sleep(0.001)
        seen.gone.set()


def http(status: int, payload: Any, **headers: str) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def part(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(payload: Any) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return part(b"data: " + data + b"\n\n")


def text(content: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": content, "finish_reason": finish, **more}]}


def always(*replies: bytes) -> Handler:
    """Replies in turn, the last one for ever; `/v1/models` is answered beside."""
    left = list(replies)

    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.path == "/v1/models":
            writer.write(http(200, MODELS))
            return
        reply = left.pop(0) if len(left) > 1 else left[0]
        writer.write(reply)
        if b"content-length" not in reply and not reply.endswith(END):
            await writer.drain()
            writer.close()

    return handler


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
